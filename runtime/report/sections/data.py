"""What a run learnt from: how many images, and how many of each class in each part."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET

from runtime.report.cells import Table
from runtime.results.report import Report

_PARTS = ("train", "validation", "holdout")


def counts(report: Report) -> dict[str, object]:
    """Return the counts of images and their digest; nothing where only a check knows the report."""
    found = {} if report.data is UNSET else report.data
    return {key: value for key, value in found.items() if not isinstance(value, Mapping)}


def classes(report: Report) -> Table:
    """Return the images of each class in each part, the largest class first."""
    found = {} if report.data is UNSET else report.data
    named = found.get("classes")
    if not isinstance(named, Mapping):
        return Table.of([], [])
    rows = [
        [str(name), *(str(parts.get(part, 0)) for part in _PARTS)]
        for name, parts in sorted(named.items(), key=lambda pair: -sum(pair[1].values()))
    ]
    return Table.of(["class", *_PARTS], rows)
