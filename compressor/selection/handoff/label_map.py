"""The map of a label page: where each image is drawn; the template draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.arrays import Floats, Ints

MOST_POINTS = 6_000
"""Dots on a map; of more images a sample is drawn."""
_SIDE, _MARGIN = 1000, 30


@dataclass(frozen=True)
class Mark:
    """An image to label, in the units of the drawing."""

    rank: int
    x: int
    y: int


@dataclass(frozen=True)
class LabelMap:
    """A map as SVG coordinates: page.html links every mark to its image."""

    width: int
    height: int
    cloud: str
    """Path of one dot per image."""
    dot: int
    """Diameter of a dot."""
    known: tuple[tuple[int, int], ...]
    """Images that have a label."""
    marks: tuple[Mark, ...]
    """Images to label; the first rank comes last, so that it lies on top."""
    radius: int
    """Of a mark."""
    font_size: int
    """Size of the rank in a mark; 0: too many marks for numbers."""


def label_map(on_map: Floats, marks: Sequence[tuple[int, int]], known: Ints) -> LabelMap:
    """Place all images on the drawing.

    Args:
        on_map: [N, 2].
        marks: (row, rank) of the images to label.
        known: [L] rows that have a label.
    """
    points, height = _placed(on_map)
    drawn = np.arange(len(points))
    if len(drawn) > MOST_POINTS:
        drawn = np.sort(np.random.default_rng(0).choice(drawn, MOST_POINTS, replace=False))
    few = len(marks) <= 100
    return LabelMap(
        width=_SIDE,
        height=height,
        cloud="".join(f"M{x} {y}h0" for x, y in points[drawn]),
        dot=9 if len(drawn) < 1_000 else 6,
        known=tuple((int(x), int(y)) for x, y in points[known[:MOST_POINTS]]),
        marks=tuple(
            Mark(rank, int(points[row][0]), int(points[row][1])) for row, rank in reversed(marks)
        ),
        radius=17 if few else 8,
        font_size=18 if few else 0,
    )


def _placed(on_map: Floats) -> tuple[Ints, int]:
    """Return points in whole units of the drawing, and its height; the map keeps its shape."""
    low, high = on_map.min(axis=0), on_map.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    scale = (_SIDE - 2 * _MARGIN) / span.max()
    extent = span * scale
    if extent[1] > extent[0]:  # a wide map is read more easily
        on_map, low, extent = on_map[:, ::-1], low[::-1], extent[::-1]
    height = int(extent[1]) + 2 * _MARGIN
    placed = (on_map - low) * scale + _MARGIN + [(_SIDE - 2 * _MARGIN - extent[0]) / 2, 0]
    return np.round(placed).astype(np.int64), height
