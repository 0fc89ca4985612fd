"""A score as the text of a table's cell."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from runtime.results.scores import Score


def score_cell(
    score: Score | UnsetType | None,
    digits: int = 3,
    *,
    interval: bool = True,
    signed: bool = False,
) -> str:
    """Return a score, with its interval in brackets; empty if there is none.

    Args:
        score: one without any spread, such as a size, is shown without interval.
        digits: after the point.
        interval: whether to show it.
        signed: with a sign, as a difference has one.
    """
    if score is None or score is UNSET:
        return ""
    value = number(score.value, digits, signed=signed)
    if not interval or (score.low == score.value == score.high and not signed):
        return value
    low, high = (number(each, digits, signed=signed) for each in (score.low, score.high))
    return f"{value} ({low} to {high})"


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """Return a number with so many digits after the point; zero has no sign."""
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text
