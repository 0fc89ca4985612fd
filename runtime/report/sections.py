"""What the report looks into beyond the ledger: losses, departures, classes, corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.evaluation import metric_table
from runtime.report.tables import HEADINGS, cell
from runtime.text import table

Rows = tuple[list[str], list[list[str]]]
"""Headings, and cells of each row."""

LOSSES = tuple(each.key for each in metric_table.METRICS if each.shows_loss)
"""Figures whose losses are shown; report.json has them all."""


def markdown(report: Mapping[str, Any]) -> list[str]:
    """The sections that this report has something for, each with its heading."""
    found = []
    for against, title in (
        ("loss_against_before", "What each step loses against the line before"),
        ("loss_against_teacher", "What each line loses against the teacher"),
    ):
        headings, rows = losses(report, against)
        if rows:
            found.append(f"## {title}\n\n{table(headings, rows)}\n\n{LOSS_NOTE}")
    if seen := report.get("golden", {}).get("set_apart_as_seen_in_training"):
        found.append(f"## Held-out images that the training had\n\n{seen_note(seen)}")
    departures = report.get("departures") or {}
    if departures.get("most"):
        found.append(
            f"## Where the file departs most from the teacher\n\n"
            f"{table(*departing(departures['most']))}\n\nDistance: {departures['measure']}."
        )
    if unsure := departures.get("teacher_unsure"):
        text = unsure_note(unsure)
        if unsure["most"]:
            text += "\n\n" + table(*departing(unsure["most"]))
        found.append(f"## Where the teacher itself is unsure\n\n{text}")
    if report.get("per_class"):
        found.append(f"## Classes\n\n{table(*classes(report))}")
    if robust := report.get("robustness"):
        tables = [table(*robustness(robust)), *(table(*each) for each in by_family(robust))]
        note = robustness_note(robust)
        found.append("## Corrupted images\n\n" + "\n\n".join([note, *tables]))
    return found


LOSS_NOTE = (
    "Above zero: worse. Intervals are of the paired bootstrap: the same images in every line. One "
    "that holds zero shows no loss on these images."
)


def losses(report: Mapping[str, Any], against: str) -> Rows:
    """A line's losses, where it has some."""
    entries = [each for each in report["ledger"] if each.get(against)]
    keys = [key for key in LOSSES if any(key in each[against] for each in entries)]
    rows = [
        [
            each["stage"],
            *(cell(each[against], key, 3, intervals=True, signed=True) for key in keys),
        ]
        for each in entries
    ]
    return ["stage", *(HEADINGS[key] for key in keys)], rows if keys else []


def seen_note(seen: Sequence[str]) -> str:
    """Which images were set apart, and why."""
    shown = ", ".join(seen[:10]) + (f" and {len(seen) - 10} more" if len(seen) > 10 else "")
    return (
        f"{len(seen)} held-out images are in no figure: the teacher cannot tell them from training "
        f"images. {shown}."
    )


def departing(images: Sequence[Mapping[str, Any]]) -> Rows:
    """An image a row: what it is, what both say of it and how sure they are."""
    if "teacher" not in images[0]:
        return ["image", "distance"], [
            [each["image"], f"{each['distance']:.3f}"] for each in images
        ]
    rows = [
        [
            _named(each),
            each["label"] or "?",
            said(each["teacher"]),
            said(each["deployed"]),
            f"{each['distance']:.3f}",
        ]
        for each in images
    ]
    return ["image", "label", "teacher", "file", "distance"], rows


def _named(image: Mapping[str, Any]) -> str:
    """Its name, which must not end a cell of the table."""
    return str(image["image"]).replace("|", "\\|")


def said(answer: Mapping[str, Any]) -> str:
    """An answer with its calibrated probability."""
    return f"{answer['answer']} ({answer['confidence']:.2f})"


def unsure_note(unsure: Mapping[str, Any]) -> str:
    """How many images the teacher is unsure of, and what that means for the agreement."""
    if not unsure["images"]:
        return f"On no image is its calibrated probability under {unsure['below']:g}."
    text = (
        f"Of {unsure['images']} images its answer has a calibrated probability under "
        f"{unsure['below']:g}. The file gives the same answer to "
        f"{cell(unsure, 'agreement_where_unsure', 3, intervals=True)} of them"
    )
    if "agreement_where_sure" in unsure:
        text += f", and to {cell(unsure, 'agreement_where_sure', 3, intervals=True)} of the others"
    return text + "."


def classes(report: Mapping[str, Any]) -> Rows:
    """A class a row, the largest loss first."""
    keys = ("accuracy_teacher", "accuracy_deployed", "loss", "agreement")
    rows = [
        [
            each["class"],
            str(each["images"]),
            *(cell(each, key, 2, intervals=True, signed=key == "loss") for key in keys),
            each["taken_for"] or "",
        ]
        for each in report["per_class"]
    ]
    return ["class", "images", "teacher", "file", "loss", "agrees", "most often taken for"], rows


def robustness_note(robust: Mapping[str, Any]) -> str:
    """What was done to how many images."""
    families = ", ".join(robust["families"])
    return (
        f"{robust['name']}: {robust['images']} held-out images, each with {families} at five "
        "severities. *accuracy*, *agrees*: of the deployed probe, over all of them. *falls by*: "
        "from the same images as they are. *stability*: cosine of an image's embedding before and "
        "after, less the training images' mean."
    )


_ROBUST = (
    ("accuracy_clean", "accuracy, clean"),
    ("accuracy", "accuracy, corrupted"),
    ("accuracy_fall", "falls by"),
    ("accuracy_fall_beyond_teacher", "more than the teacher"),
    ("agreement", "agrees"),
    ("stability", "stability"),
    ("stability_fall_beyond_teacher", "falls more than the teacher"),
)


def robustness(robust: Mapping[str, Any]) -> Rows:
    """Teacher, student and file over all corruptions."""
    keys = [each for each in _ROBUST if any(each[0] in line for line in robust["lines"])]
    rows = [
        [
            line["stage"],
            *(
                cell(line, key, 3, intervals=True, signed=key.endswith("_beyond_teacher"))
                for key, _ in keys
            ),
        ]
        for line in robust["lines"]
    ]
    return ["stage", *(heading for _, heading in keys)], rows


def by_family(robust: Mapping[str, Any]) -> list[Rows]:
    """For accuracy, agreement and stability: each family's value at severities 1 to 5."""
    found = []
    for key in ("accuracy", "agreement", "stability"):
        lines = [line for line in robust["lines"] if key in line["families"][0]]
        rows = [
            [
                line["stage"],
                *(" ".join(f"{value:.2f}" for value in each[key]) for each in line["families"]),
            ]
            for line in lines
        ]
        if rows:
            found.append(([f"{key}, severity 1 to 5", *robust["families"]], rows))
    return found
