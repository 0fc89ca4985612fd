"""Where the marks of a scatter plot lie: faithfulness against a cost, the area of a dot its size.

The macro `scatter` in templates/charts.html draws them as SVG.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.report.drawings.charts import Tick, round_numbers
from runtime.results.scores import Score

WIDE, NARROW = 720, 340
"""Widths of a drawing for a screen and for a phone, on which its words stay readable."""
_MARGIN, _LOWER, _LABEL = 44, 300, 14
_FAR = 8
_MANY = 300
"""From here on the steps of a logarithmic axis are powers of ten alone."""


@dataclass(frozen=True)
class Point:
    """A network or a file to be drawn."""

    name: str
    kind: str
    """Its colour: deployed, student, before or teacher."""
    cost: float
    """Milliseconds or megabytes, on the horizontal axis."""
    score: Score
    size_mb: float
    hollow: bool = False


@dataclass(frozen=True)
class Spot:
    """A dot whose area is its size, with the interval of its faithfulness."""

    name: str
    kind: str
    x: float
    y: float
    low: float
    high: float
    radius: float
    name_x: float
    name_y: float
    anchor: str
    hollow: bool


@dataclass(frozen=True)
class ScatterChart:
    """Faithfulness against a cost."""

    label: str
    """Read out to those who cannot see it."""
    unit: str
    """Of the horizontal axis."""
    ticks: Sequence[Tick]
    """Of the vertical axis."""
    steps: Sequence[Tick]
    """Of the horizontal axis."""
    spots: Sequence[Spot]
    at_most: float | None
    """Where the limit of the horizontal axis lies."""
    at_least: float | None
    """Where the limit of the vertical axis lies."""
    width: int
    height: int = _LOWER + 36
    left: int = _MARGIN
    floor: int = _LOWER


def scatter(
    points: Sequence[Point],
    *,
    label: str,
    unit: str,
    at_most: float | None = None,
    at_least: float | None = None,
    width: int = WIDE,
) -> ScatterChart:
    """Place points, the most faithful at the top and the cheapest at the left.

    Args:
        points: one or more.
        label: for those who cannot see it.
        unit: of the costs.
        at_most: the highest cost that is allowed.
        at_least: the lowest faithfulness that is allowed.
        width: in pixels.
    """
    costs = [point.cost for point in points] + ([] if at_most is None else [at_most])
    lows, highs = zip(*((point.score.low, point.score.high) for point in points), strict=True)
    limit = [] if at_least is None else [at_least]
    steps, place = _axis(costs)
    ticks = round_numbers(min(*lows, *limit, max(highs)), max(*highs, *limit, min(lows)))

    def across(value: float) -> float:
        return round(_MARGIN + 8 + (width - _MARGIN - 16) * place(value), 1)

    def down(value: float) -> float:
        return round(10 + (_LOWER - 20) * (ticks[-1] - value) / (ticks[-1] - ticks[0]), 1)

    spots = list[Spot]()
    for point in sorted(points, key=lambda point: -point.score.value):
        x, y, radius = across(point.cost), down(point.score.value), 3 + point.size_mb**0.5
        after = x < width * 0.6
        at = x + radius + 5 if after else x - radius - 5
        free = _free(y + 4, [spot.name_y for spot in spots if abs(spot.x - x) < width / 3])
        spots.append(
            Spot(
                name=point.name,
                kind=point.kind,
                x=x,
                y=y,
                low=down(point.score.low),
                high=down(point.score.high),
                radius=round(radius, 1),
                name_x=round(at, 1),
                name_y=free,
                anchor="start" if after else "end",
                hollow=point.hollow,
            )
        )
    return ScatterChart(
        label=label,
        unit=unit,
        ticks=[Tick(down(value), f"{value:g}") for value in ticks],
        steps=[Tick(across(value), f"{value:g}") for value in steps],
        spots=spots,
        at_most=None if at_most is None else across(at_most),
        at_least=None if at_least is None else down(at_least),
        width=width,
    )


def _axis(costs: Sequence[float]) -> tuple[Sequence[float], Callable[[float], float]]:
    """Steps of the horizontal axis, and where a cost lies on it, from 0 to 1.

    It begins at zero; it is logarithmic where one cost is more than `_FAR` times another.
    """
    low, high = min(costs), max(costs)
    if not 0 < low < high / _FAR:
        steps = round_numbers(0, high)
        return steps, lambda value: value / steps[-1]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high <= _MANY * low else (1,)  # more would touch on a narrow screen
    rounds = [digit * 10.0**power for power in powers for digit in digits]
    first = max(each for each in rounds if each <= low)
    last = min(each for each in rounds if each >= high)
    within = math.log(last / first)
    return (
        [each for each in rounds if first <= each <= last],
        lambda value: math.log(value / first) / within,
    )


def _free(wanted: float, taken: Sequence[float]) -> float:
    """Return a height below `wanted` at which a name covers none of the others."""
    for other in sorted(taken):
        if abs(other - wanted) < _LABEL:
            wanted = other + _LABEL
    return round(wanted, 1)
