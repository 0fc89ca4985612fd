"""The files to label in: a CSV and tasks for Label Studio; reads labels back from the CSV."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from compressor.data.layout.label_csv import LOCAL_FILES, lost_labels, read_known_labels
from compressor.selection.handoff.label_sheet import LabelSheet
from runtime.files import write_json, write_text
from runtime.text import guarded

CSV, TASKS, PAGE = "to_label.csv", "to_label.json", "to_label.html"
COLUMNS = ("rank", "image", "label", "cluster", "stands_for", "nearest_chosen")
_BOM = "\ufeff"
"""Without it, spreadsheets read a CSV in another encoding and garble names."""


def write_csv(sheet: LabelSheet, path: Path) -> Path | None:
    """Write to_label.csv: proposed images in rank order, those to measure on, all other labels.

    So the file can replace `data.labels` without losing a label. A file that already has this
    content is not touched. One with labels that the new file lacks, because `data.labels` says
    another class or the image is no longer there, is kept beside it under another name.

    Returns:
        Where the file before is kept; None: nothing of it is lost.

    Raises:
        InputError: the file before cannot be read.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in (*sheet.rows, *sheet.held_out):
        writer.writerow(guarded(getattr(row, column)) for column in COLUMNS)
    for image, label in sheet.others.items():
        writer.writerow(("", guarded(image), guarded(label), "", "", ""))
    content, kept = _BOM + text.getvalue(), None
    if path.exists() and path.read_bytes() == content.encode():
        return None
    if path.exists() and lost_labels(path, sheet.labels):
        kept = _free(path)
        shutil.copyfile(path, kept)
    write_text(path, content)
    return kept


def _free(path: Path) -> Path:
    names = (path.with_stem(f"{path.stem}.old-{number}") for number in itertools.count(1))
    return next(each for each in names if not each.exists())


def typed_labels(folder: Path, ids: Sequence[str]) -> dict[str, str]:
    """Read the labels by image id that somebody wrote into the to_label.csv of a run.

    Raises:
        InputError: they cannot be read; a new file would lose them.
    """
    path = folder / CSV
    return read_known_labels(path, ids) if path.exists() else {}


def write_tasks(sheet: LabelSheet, root: Path, path: Path) -> None:
    """Write the images that still need a label as tasks for Label Studio.

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
        for row in sheet.to_label
    ]
    write_json(path, tasks)
