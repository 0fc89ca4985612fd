"""Predictions as they are printed: a table to read, one JSON document, or the lines of a CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Protocol

from runtime.prediction.many import Answer
from runtime.text import guarded, printable, table

Say = Callable[..., None]
"""Prints a text; with `nl=False` without a line break after it."""


class Output(Protocol):
    """Takes the answers one after the other."""

    def add(self, answer: Answer) -> None:
        """Take the next one."""

    def end(self) -> None:
        """Print what has not been printed yet."""


class Table:
    """Label, confidence, likeness and nearest training images of each image that was answered."""

    def __init__(self, say: Say) -> None:
        """Keep how to print."""
        self._say = say
        self._rows: list[list[str]] = []

    def add(self, answer: Answer) -> None:
        """Take the next one; one without a prediction has no row."""
        if (found := answer.prediction) is not None:
            confidence = "-" if found.confidence is None else f"{found.confidence:.3f}"
            likeness = f"{found.likeness:.3f}{' ?' if found.is_outlier else ''}"
            nearest = ", ".join(f"{near.image} ({near.cosine:.2f})" for near in found.nearest)
            name = str(answer.below)
            self._rows.append([name, found.label or "-", confidence, likeness, nearest])

    def end(self) -> None:
        """Print the table, if there is any row."""
        if self._rows:
            headings = ["image", "label", "confidence", "likeness", "nearest training images"]
            self._say(table(headings, self._rows))


class Json:
    """A list with an object for each image; one that could not be read has an `error`."""

    def __init__(self, say: Say) -> None:
        """Keep how to print."""
        self._say = say
        self._found: list[dict[str, object]] = []

    def add(self, answer: Answer) -> None:
        """Take the next one."""
        told = {"error": answer.error} if answer.prediction is None else answer.prediction.to_dict()
        self._found.append({"image": answer.name, **told})

    def end(self) -> None:
        """Print the document."""
        self._say(json.dumps(self._found, allow_nan=False))


class CsvLines:
    """A line for each image as soon as it is known; no cell is computed by a spreadsheet."""

    HEADINGS = ("image", "label", "confidence", "is_outlier", "likeness", "nearest", "error")

    def __init__(self, say: Say) -> None:
        """Print the headings."""
        self._say = say
        self._print(self.HEADINGS)

    def add(self, answer: Answer) -> None:
        """Print the next one."""
        found, error = answer.prediction, answer.error.split("\n")[0]
        if found is None:
            self._print((answer.name, *[""] * 5, error))
            return
        outlier = "" if found.is_outlier is None else str(found.is_outlier).lower()
        confidence = "" if found.confidence is None else f"{found.confidence:.6f}"
        nearest = found.nearest[0].image if found.nearest else ""
        likeness = f"{found.likeness:.6f}"
        cells = (answer.name, found.label or "", confidence, outlier, likeness, nearest, "")
        self._print(cells)

    def end(self) -> None:
        """Every line is printed already."""

    def _print(self, cells: tuple[object, ...]) -> None:
        line = io.StringIO()
        shown = [guarded(printable(str(cell), lines=False)) for cell in cells]
        csv.writer(line, lineterminator="\n").writerow(shown)
        self._say(line.getvalue(), nl=False)
