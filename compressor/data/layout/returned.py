"""The folder of images that came back from devices: what lies there, and the labels given since.

Each time that images come back they get a folder of their own below it, `001`, `002`, ...; their
labels are in one `labels.csv` directly in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compressor.data.layout.label_csv import read_known_labels
from compressor.data.layout.listing import files_below
from runtime.errors import InputError

LABELS = "labels.csv"
NOTES = "returned.json"
"""In each folder: what the device said of its images."""
_NOT_IMAGES = (".csv", ".json")


def images_in(folder: Path | None) -> list[Path]:
    """Return the images that came back, sorted; none where there is no such folder.

    Raises:
        InputError: a folder cannot be read.
    """
    if folder is None or not folder.is_dir():
        return []
    return [path for path in files_below(folder) if path.suffix.lower() not in _NOT_IMAGES]


def labels_in(folder: Path, paths: Mapping[str, Path]) -> dict[Path, str]:
    """Return the labels in the folder's `labels.csv`; its other images are left out.

    Args:
        folder: of the images that came back.
        paths: each of them by its id, which the label page writes; a name below the folder will
            do too.

    Raises:
        InputError: the file cannot be read, or gives an image two labels.
    """
    written = folder / LABELS
    if not written.is_file():
        return {}
    below = {path.relative_to(folder).as_posix(): path for path in paths.values()}
    named, labels = below | dict(paths), dict[Path, str]()
    for name, label in read_known_labels(written, list(named)).items():
        if labels.setdefault(named[name], label) != label:  # named in both ways
            raise InputError(
                f"{written}: {name} is {label!r} and {labels[named[name]]!r}; which of them?"
            )
    return labels
