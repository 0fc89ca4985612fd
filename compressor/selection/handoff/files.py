"""The files that a person labels in: a CSV, tasks for Label Studio, and what is read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from compressor.data.labels import LOCAL_FILES, read_known_labels
from compressor.selection.handoff.sheet import Sheet
from runtime.files import write_json, write_text

CSV, TASKS, PAGE = "to_label.csv", "to_label.json", "to_label.html"
COLUMNS = ("rank", "image", "label", "cluster", "stands_for", "nearest_chosen")
_BOM = "\ufeff"
"""Spreadsheets take a CSV without it for another encoding, and garble names."""


def write_csv(sheet: Sheet, path: Path) -> None:
    """Write to_label.csv: what was proposed in rank order, then all other labels.

    So it can take the place of `data.labels` without losing a label. It is left alone where it
    says so already.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in sheet.rows:
        known = (row.rank, row.image, row.label, row.cluster, row.stands_for, row.nearest_chosen)
        writer.writerow(known)
    for image, label in sheet.others.items():
        writer.writerow(("", image, label, "", "", ""))
    content = _BOM + text.getvalue()
    if not path.exists() or path.read_bytes() != content.encode():
        write_text(path, content)


def typed_labels(folder: Path, ids: Sequence[str]) -> dict[str, str]:
    """Labels that somebody wrote into the to_label.csv of a run, by image id.

    Raises:
        InputError: they cannot be read; they would be lost if the file were written anew.
    """
    path = folder / CSV
    return read_known_labels(path, ids) if path.exists() else {}


def write_tasks(sheet: Sheet, root: Path, path: Path) -> None:
    """Write what is still to label as tasks for Label Studio.

    Images are named as its local storage serves them, where the folder around data.images is
    LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT; see docs/label.md.
    """
    tasks = [
        {
            "data": {
                "image": LOCAL_FILES + quote(f"{root.name}/{row.image}"),
                "rank": row.rank,
                "stands_for": row.stands_for,
            }
        }
        for row in sheet.open
    ]
    write_json(path, tasks)
