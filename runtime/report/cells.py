"""Cells and tables, as every form of the report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from runtime import text
from runtime.results.scores import Score


@dataclass(frozen=True)
class Cell:
    """A text, and the interval that belongs to it."""

    text: str
    interval: str = ""

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.text} ({self.interval})" if self.interval else self.text


Rows = list[list[Cell | str]]


@dataclass(frozen=True)
class Table:
    """Headings, and a cell for each of them in every row."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, headings: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> Table:
        """From cells and plain texts."""
        return cls(
            tuple(headings),
            tuple(
                tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row)
                for row in rows
            ),
        )

    def __bool__(self) -> bool:
        """True if there is a row."""
        return bool(self.rows)

    @property
    def markdown(self) -> str:
        """Return a Markdown table, which is readable as plain text too."""
        rows = [[text.inert(str(cell)) for cell in row] for row in self.rows]
        return text.table([text.inert(heading) for heading in self.headings], rows)

    def turned(self) -> Table:
        """Return the table with its columns as rows."""
        heading, *columns = zip(map(Cell, self.headings), *self.rows, strict=True)
        return Table(tuple(cell.text for cell in heading), tuple(columns))


def score_cell(
    score: Score | UnsetType | None,
    digits: int = 3,
    *,
    interval: bool = True,
    signed: bool = False,
) -> Cell:
    """Return a score with its interval; empty if there is none.

    Args:
        score: one without any spread, such as a size, is shown without interval.
        digits: after the point.
        interval: whether to show it.
        signed: with a sign, as a difference has one.
    """
    if score is None or score is UNSET:
        return Cell("")
    value = number(score.value, digits, signed=signed)
    if not interval or (score.low == score.value == score.high and not signed):
        return Cell(value)
    low, high = (number(edge, digits, signed=signed) for edge in (score.low, score.high))
    return Cell(value, f"{low} to {high}")


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """Return a number with so many digits after the point; zero has no sign."""
    shown = f"{value:{'+' if signed else ''}.{digits}f}"
    return shown.lstrip("+-") if float(shown) == 0 else shown
