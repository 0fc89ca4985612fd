"""The curve of a label page: share of images covered after each label."""

from __future__ import annotations

from collections.abc import Sequence

from compressor.selection import charts


def coverage_curve(shares: Sequence[float], first_rank: int, last_rank: int) -> str:
    """Return an SVG element for a page; page.css recolours it, so that it suits a dark page too.

    Args:
        shares: 0 to 1, after each image from the first to the last rank.
        first_rank: of the images to label.
        last_rank: of the images to label.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    with charts.style():
        figure = Figure(figsize=(4.6, 1.6), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        ranks = range(first_rank, first_rank + len(shares))
        (line,) = axes.plot(ranks, shares, color=charts.ACCENT, linewidth=2.5, marker=_dot(shares))
        line.set_gid("coverage-by-rank")
        axes.set_ylim(0, 1.02)
        axes.set_yticks([0, 0.5, 1])
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        ends = sorted({first_rank, last_rank})
        axes.set_xticks(ends, [f"image {ends[0]}", *map(str, ends[1:])])
        axes.grid(axis="y")
        drawing = charts.svg(figure, f"Share of images covered after each of {len(shares)} labels")
    return drawing[drawing.index("<svg") :]


def _dot(shares: Sequence[float]) -> str:
    """A line of one point would not be seen."""
    return "o" if len(shares) == 1 else ""
