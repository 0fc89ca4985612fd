"""Where the marks of a drawing lie: dots with intervals, lines over severities, a learning curve.

The macros in templates/charts.html draw them as SVG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.evaluation.metric_table import Metric
from runtime.report.sections.worth import EARLIER
from runtime.results.findings import RobustnessEntry
from runtime.results.ledger import LedgerEntry
from runtime.results.making import LearningCurve
from runtime.results.scores import Score

_WIDTH, _ROW, _LEFT = 360, 26, 104
_PLOT = _WIDTH - _LEFT - 52
_KINDS = {"teacher": "teacher", "student": "student", **dict.fromkeys(EARLIER, "before")}


@dataclass(frozen=True)
class Tick:
    """A line of the grid; its label may be empty."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A score with its interval, in a row of its own."""

    stage: str
    kind: str
    y: int
    low: float
    x: float
    high: float
    value: str


@dataclass(frozen=True)
class DotChart:
    """A score from 0 to 1 of every entry of the ledger."""

    label: str
    """Read out to those who cannot see it."""
    height: int
    ticks: Sequence[Tick]
    dots: Sequence[Dot]
    width: int = _WIDTH
    left: int = _LEFT


def dots(entries: Sequence[LedgerEntry], metric: Metric, *, label: str) -> DotChart:
    """Place a metric of every entry that has it."""
    scores = [(entry.stage, score) for entry in entries if (score := metric.of(entry))]
    ticks = [
        Tick(_across(value), f"{value:g}" if value in (0, 0.5, 1) else "")
        for value in (0, 0.25, 0.5, 0.75, 1)
    ]
    placed = [_dot(n, stage, score, metric) for n, (stage, score) in enumerate(scores)]
    return DotChart(label, _ROW * len(scores) + 20, ticks, placed)


def _dot(number: int, stage: str, score: Score, metric: Metric) -> Dot:
    return Dot(
        stage=stage,
        kind=_KINDS.get(stage, "deployed"),
        y=_ROW * number + 14,
        low=_across(score.low),
        x=_across(score.value),
        high=_across(score.high),
        value=f"{score.value:.{metric.digits}f}",
    )


def _across(value: float) -> float:
    return round(_LEFT + _PLOT * min(1.0, max(0.0, value)), 1)


# --- severities ------------------------------------------------------------------------------

_SIDE, _TALL, _PAD = 190, 120, 26


@dataclass(frozen=True)
class Line:
    """An encoder's scores over severities: the line, and the band of its intervals."""

    stage: str
    band: str
    line: str


@dataclass(frozen=True)
class SeverityChart:
    """A score of every encoder from severity 1 to 5."""

    label: str
    ticks: Sequence[Tick]
    """Ticks of the vertical axis."""
    severities: Sequence[Tick]
    lines: Sequence[Line]
    width: int = _SIDE
    height: int = _TALL + 20
    left: int = _PAD


def severities(
    entries: Sequence[RobustnessEntry], family: int, key: str, *, label: str
) -> SeverityChart:
    """Place one family of corruptions.

    Args:
        entries: the encoders.
        family: its number among the families.
        key: accuracy, agreement or stability.
        label: for those who cannot see it.
    """
    lines = [
        _line(entry.stage, entry.families[family].series[key])
        for entry in entries
        if key in entry.families[family].series
    ]
    ticks = [Tick(_down(value), f"{value:g}") for value in (0, 0.5, 1)]
    steps = [Tick(_step(severity - 1), str(severity)) for severity in (1, 3, 5)]
    return SeverityChart(label, ticks, steps, lines)


def _line(stage: str, scores: Sequence[Score]) -> Line:
    highs = [_point(n, score.high) for n, score in enumerate(scores)]
    lows = [_point(n, score.low) for n, score in enumerate(scores)]
    middle = [_point(n, score.value) for n, score in enumerate(scores)]
    return Line(stage, band=" ".join([*highs, *lows[::-1]]), line=" ".join(middle))


def _step(step: int) -> float:
    return _PAD + 8 + (_SIDE - _PAD - 16) * step / 4


def _down(value: float) -> float:
    return round(6 + (_TALL - 10) * (1 - min(1.0, max(0.0, value))), 1)


def _point(step: int, value: float) -> str:
    return f"{_step(step):g},{_down(value):g}"


# --- the learning curve ----------------------------------------------------------------------

_WIDE, _HIGH, _MARGIN, _FOOT = 400, 150, 36, 20


@dataclass(frozen=True)
class CurveChart:
    """A validation score over the epochs, the kept epoch, and what the verdict rests on."""

    label: str
    ticks: Sequence[Tick]
    """Ticks of the vertical axis."""
    epochs: Sequence[Tick]
    line: str
    kept: tuple[float, float] | None
    """Where the kept epoch lies; None where it has no score."""
    last_from: float
    """Where the last epochs begin, which the verdict rests on."""
    width: int = _WIDE
    height: int = _HIGH + _FOOT
    left: int = _MARGIN
    floor: int = _HIGH


def curve(found: LearningCurve, *, label: str) -> CurveChart:
    """Place a learning curve; its vertical axis holds the scores and little more."""
    ticks = round_numbers(min(found.values), max(found.values))
    bottom, top = ticks[0], ticks[-1]
    first, final = found.epochs[0], found.epochs[-1]

    def across(epoch: float) -> float:
        share = (epoch - first) / (final - first) if final > first else 0.5
        return round(_MARGIN + 8 + (_WIDE - _MARGIN - 16) * share, 1)

    def down(value: float) -> float:
        return round(6 + (_HIGH - 12) * (top - value) / (top - bottom), 1)

    points = dict(zip(found.epochs, found.values, strict=True))
    kept = points.get(found.kept_epoch)
    shown = sorted({first, round((first + final) / 2), final})
    return CurveChart(
        label=label,
        ticks=[Tick(down(value), f"{value:g}") for value in ticks],
        epochs=[Tick(across(epoch), str(epoch)) for epoch in shown],
        line=" ".join(f"{across(epoch):g},{down(value):g}" for epoch, value in points.items()),
        kept=None if kept is None else (across(found.kept_epoch), down(kept)),
        last_from=across(max(first, final - found.last + 1)),
    )


def round_numbers(low: float, high: float) -> list[float]:
    """Two to seven round numbers, equally far apart, around `low` and `high`."""
    spread = max(high - low, 0.01)
    power = 10 ** math.floor(math.log10(spread))
    step = next(power * part for part in (0.2, 0.5, 1, 2) if spread / (power * part) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return [round(number * step, 10) for number in range(first, last + 1)]
