"""SVG by hand: the map with its marks, and the curve of what the first images cover."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from runtime.arrays import Floats, Ints

MOST_POINTS = 6_000
"""Dots on a map; more images than that are shown by a sample of them."""
_SIDE, _MARGIN = 1000, 30


def map_svg(on_map: Floats, marks: Sequence[tuple[int, int]], known: Ints, label: str) -> str:
    """The map, every image a dot, those to label numbered.

    Args:
        on_map: [N, 2].
        marks: (row, rank) of the images to label.
        known: [L] rows that have a label.
        label: what it shows, for those who do not see it.
    """
    points, height = _placed(on_map)
    shown = np.arange(len(points))
    if len(shown) > MOST_POINTS:
        shown = np.sort(np.random.default_rng(0).choice(shown, MOST_POINTS, replace=False))
    dot = 9 if len(shown) < 1_000 else 6
    cloud = "".join(f"M{x} {y}h0" for x, y in points[shown])
    rings = "".join(f'<circle cx="{x}" cy="{y}" r="6"/>' for x, y in points[known[:MOST_POINTS]])
    radius, size = (17, 18) if len(marks) <= 100 else (8, 0)
    numbered = "".join(
        f'<a class="mark" id="mark-{rank}" href="#image-{rank}" aria-label="image {rank}">'
        f'<circle cx="{points[row][0]}" cy="{points[row][1]}" r="{radius}"/>'
        + (_text(points[row], size, str(rank)) if size else "")
        + "</a>"
        for row, rank in reversed(marks)  # the first lie uppermost
    )
    return (
        f'<svg viewBox="0 0 {_SIDE} {height}" role="group" aria-label="{escape(label)}">'
        f'<path class="cloud" stroke-width="{dot}" d="{cloud}"/>'
        f'<g class="known">{rings}</g>{numbered}</svg>'
    )


def _placed(on_map: Floats) -> tuple[npt.NDArray[np.int64], int]:
    """Points in the drawing's own whole units, and its height: the map's shape is kept."""
    low, high = on_map.min(axis=0), on_map.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    scale = (_SIDE - 2 * _MARGIN) / span.max()
    extent = span * scale
    if extent[1] > extent[0]:  # a wide map is read more easily
        on_map, low, extent = on_map[:, ::-1], low[::-1], extent[::-1]
    height = int(extent[1]) + 2 * _MARGIN
    placed = (on_map - low) * scale + _MARGIN + [(_SIDE - 2 * _MARGIN - extent[0]) / 2, 0]
    return np.round(placed).astype(np.int64), height


def _text(point: npt.NDArray[np.int64], size: int, words: str) -> str:
    return f'<text x="{point[0]}" y="{point[1]}" font-size="{size}">{escape(words)}</text>'


def curve_svg(shares: Sequence[float], ranks: tuple[int, int], label: str) -> str:
    """Share of images covered (0 to 1) after each image; `ranks` of the first and the last."""
    width, height, left, bottom = 460, 150, 38, 22
    last = max(1, len(shares) - 1)
    across = [left + (width - left - 8) * n / last for n in range(len(shares))]
    line = " ".join(
        f"{x:.1f},{(1 - share) * (height - bottom - 8) + 8:.1f}"
        for x, share in zip(across, shares, strict=True)
    )
    levels = ""
    for level in (0, 0.5, 1):
        y = (1 - level) * (height - bottom - 8) + 8
        levels += f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y}" y2="{y}"/>'
        levels += f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{level:.0%}</text>'
    ends = (
        f'<text x="{left}" y="{height - 4}">image {ranks[0]}</text>'
        f'<text x="{width - 8}" y="{height - 4}" text-anchor="end">{ranks[1]}</text>'
    )
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">'
        f'{levels}<polyline class="reach" points="{line}"/>{ends}</svg>'
    )
