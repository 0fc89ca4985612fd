"""Where the marks of maps and of histograms lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET

from runtime.report.drawings.charts import Tick
from runtime.results.looks import EmbeddingMaps, Histogram, Points

COLOURS = 10
"""Of classes on a map; with more of them none is told apart by its colour."""
_SIDE, _PAD = 340, 12
_WIDTH, _HEIGHT, _LEFT, _FLOOR = 360, 190, 34, 160


@dataclass(frozen=True)
class Mark:
    """An image on a map."""

    x: float
    y: float
    kind: str
    """Its colour: `k0` to `k9`, or `all`."""


@dataclass(frozen=True)
class MapChart:
    """The images of one network."""

    label: str
    marks: Sequence[Mark]
    side: int = _SIDE


@dataclass(frozen=True)
class Bar:
    """A bin of a histogram."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class BarChart:
    """Two histograms over one axis, each as shares of its images."""

    label: str
    inside: Sequence[Bar]
    outside: Sequence[Bar]
    ticks: Sequence[Tick]
    sides: Sequence[Tick]
    threshold: float | None
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    floor: int = _FLOOR


def map_chart(found: EmbeddingMaps, points: Points, label: str) -> MapChart:
    """Place the images of one network."""
    coloured = 0 < len(found.classes) <= COLOURS
    middle, scale = _SIDE / 2, _SIDE / 2 - _PAD
    marks = [
        Mark(
            round(middle + scale * x, 1),
            round(middle - scale * y, 1),
            f"k{number}" if coloured and number >= 0 else "all",
        )
        for (x, y), number in zip(points, found.labels, strict=True)
    ]
    return MapChart(label, marks)


def bar_chart(found: Histogram, label: str) -> BarChart:
    """Place the bars of one network's scores."""
    shares = [
        [count / max(1, sum(counts)) for count in counts]
        for counts in (found.inside, found.outside)
    ]
    highest = max(0.05, *(max(each) for each in shares))
    step = (_WIDTH - _LEFT) / len(found.inside)

    span = found.high - found.low  # 0: all images have the same score

    def across(value: float) -> float:
        share = (value - found.low) / span if span else 0.5
        return round(_LEFT + (_WIDTH - _LEFT) * min(1.0, max(0.0, share)), 1)

    def bars(of: Sequence[float]) -> list[Bar]:
        heights = [round((_FLOOR - 8) * share / highest, 1) for share in of]
        return [
            Bar(round(_LEFT + step * at, 1), round(_FLOOR - height, 1), round(step - 1, 1), height)
            for at, height in enumerate(heights)
            if height
        ]

    middle = (found.low + found.high) / 2
    named = (found.low, middle, found.high) if span else (middle,)
    return BarChart(
        label,
        bars(shares[0]),
        bars(shares[1]),
        [Tick(across(value), f"{value:.2f}") for value in named],
        [Tick(8, f"{highest:.0%}"), Tick(_FLOOR, "0")],
        None if found.threshold is UNSET else across(found.threshold),
    )
