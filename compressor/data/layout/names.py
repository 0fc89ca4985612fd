"""The id of each file, and its class: by folder, by CSV, or among what came back from devices."""

from __future__ import annotations

import os
from pathlib import Path

from compressor.data.layout import returned
from compressor.data.layout.label_csv import read_csv
from compressor.data.layout.layout import Layout
from runtime.errors import InputError


def id_of(path: Path, root: Path) -> str:
    """Return the path of a file relative to the images folder, with forward slashes."""
    relative = os.fsencode(Path(os.path.relpath(path, root)).as_posix())
    return relative.decode("utf-8", "backslashreplace")


def class_names(found: Layout, root: Path, labels: str) -> dict[Path, str]:
    """Return the class of each labelled file.

    Args:
        found: the files.
        root: the images folder.
        labels: `folders`, `none`, or the path of a CSV.

    Raises:
        InputError: a CSV cannot be read, its lines do not fit the files, or an image that came back
            has one class in `data.labels` and another in the folder's own file.
    """
    names = _of_task(found, root, labels)
    if found.returned_folder is None:
        return names
    back = {id_of(path, root): path for path in sorted(found.returned)}
    for path, name in returned.labels_in(found.returned_folder, back).items():
        if names.setdefault(path, name) != name:
            where = found.returned_folder / returned.LABELS
            raise InputError(f"{path}: is {names[path]!r} in {labels}, and {name!r} in {where}")
    return names


def _of_task(found: Layout, root: Path, labels: str) -> dict[Path, str]:
    if labels == "none":
        return {}
    if labels == "folders":
        return dict(found.class_of)
    paths = {id_of(path, root): path for _, path in found.files}
    return {paths[id_]: name for id_, name in read_csv(Path(labels), list(paths)).items()}
