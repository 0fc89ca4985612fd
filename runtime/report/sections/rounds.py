"""What each round of labels gained, as a table and in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from runtime.report.cells import Cell, Rows, Table, score_cell
from runtime.report.compare import difference
from runtime.results.rounds import Round

HOW_TO_READ = (
    "Accuracy: of the deployed answers on held-out images, with its 95 % interval. Outliers: share "
    "of the images that the round's student saw on devices, as far as their folders came back."
)


def table(rounds: Sequence[Round] | UnsetType) -> Table:
    """Return a line for each round, the first one's first; nothing of fewer than two.

    One round alone is shown if its student was on a device.
    """
    found = () if rounds is UNSET else tuple(rounds)
    if not found or (len(found) == 1 and not found[0].devices):
        return Table.of([], [])
    headings = ["round", "made", "images", "labels", "accuracy", "against before", "outliers"]
    rows: Rows = []
    for number, each in enumerate(found):
        images = f"{each.images:,}"
        if each.returned:
            images += f" ({each.returned:,} returned)"
        rows.append(
            [
                str(each.round),
                each.made[:10],
                images,
                f"{each.labels:,} + {each.held_out_labels:,} held out",
                score_cell(each.accuracy),
                _change(found[number - 1], each) if number else "",
                _outliers(each),
            ]
        )
    return Table.of(headings, rows)


def _change(before: Round, now: Round) -> str:
    if before.accuracy is UNSET or now.accuracy is UNSET:
        return ""
    if before.held_out != now.held_out:
        return "other held-out images or labels"
    found = difference(before.accuracy, now.accuracy)
    return f"{found.outcome} ({found.by:+.3f})"


def _outliers(each: Round) -> Cell | str:
    images = sum(stream.images for stream in each.devices)
    if not images:
        return ""
    outliers = sum(stream.outliers for stream in each.devices)
    return f"{outliers / images:.1%} of {images:,}"
