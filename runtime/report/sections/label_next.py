"""What to label next, from what a run knows of its labels: at most five sentences."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET

from runtime.report.cells import score_cell
from runtime.results.report import Report
from runtime.text import inert

FEWEST_HELD_OUT = 60
"""Labelled held-out images: with fewer an accuracy of 0.8 is known to no better than 10 points."""


def lines(report: Report) -> list[str]:
    """Return sentences in Markdown, what matters most first; none where only a check knows it."""
    if report.rounds is UNSET or not report.rounds:
        return []
    last = report.rounds[-1]
    said = list[str]()
    if last.held_out_labels < FEWEST_HELD_OUT:
        held = report.golden.images + len(report.golden.set_apart_as_seen_in_training)
        more = (
            f"`compressor label RECIPE --holdout {min(FEWEST_HELD_OUT, held)}` asks for more"
            if last.held_out_labels < held
            else "these are all: more images, or a larger `data.holdout`, make it surer"
        )
        said.append(
            f"**Held-out images**: {last.held_out_labels} have a label, and accuracy rests on "
            f"these alone; {more}."
        )
    if missing := report.classes_without_label:
        said.append(f"**Classes without a label**: {', '.join(map(inert, missing[:10]))}.")
    if line := _fewest(report):
        said.append(line)
    if line := _worst(report):
        said.append(line)
    if last.labels < last.images:
        said.append(
            f"{last.labels:,} of {last.images:,} images to train on have a label. `compressor "
            "label RECIPE --budget 50` chooses the next 50."
        )
    else:
        said.append(
            f"All {last.images:,} images to train on have a label. The next ones come from "
            "devices: `compressor label RECIPE --from FOLDER`, of what `runtime.Monitor` kept."
        )
    return said


def _fewest(report: Report) -> str:
    """The classes with the fewest labels, where they have under half of the average."""
    named = {} if report.data is UNSET else report.data.get("classes")
    if not isinstance(named, Mapping) or len(named) < 2:
        return ""
    counts = {
        str(name): sum(parts.get(split, 0) for split in ("train", "validation"))
        for name, parts in named.items()
    }
    average = sum(counts.values()) / len(counts)
    few = sorted((count, name) for name, count in counts.items() if count < average / 2)
    if not few:
        return ""
    shown = ", ".join(f"{inert(name)} {count}" for count, name in few[:5])
    return f"**Fewest labels**: {shown} (the average is {average:.0f})."


def _worst(report: Report) -> str:
    """The class that the file takes most often for another one, where the teacher does not."""
    found = [] if report.per_class is UNSET else [each for each in report.per_class if each.images]
    wrong = [each for each in found if each.taken_for and each.accuracy_deployed.value < 1]
    if not wrong:
        return ""
    worst = min(wrong, key=lambda each: each.accuracy_deployed.value)
    return (
        f"**Most often wrong**: {inert(worst.name)}, right on "
        f"{score_cell(worst.accuracy_deployed)} of {worst.images} held-out images and mostly taken "
        f"for {inert(str(worst.taken_for))}: images between these two teach most."
    )
