"""The classes of the images, read from folders or from a CSV."""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from runtime.errors import InputError

UNLABELLED = -1
LOCAL_FILES = "/data/local-files/?d="
"""Prefix of a local file in Label Studio; the path after it starts with data.images."""


def read_class_names(
    labels: str, files: Sequence[tuple[Path, Path]], ids: Mapping[Path, str]
) -> dict[str, str]:
    """Return the class name of each labelled file, by its id.

    Args:
        labels: `folders`, `none`, or the path of a CSV with the columns image,label.
        files: each file, after the folder that it was found in.
        ids: the id of each file.

    Raises:
        InputError: the CSV cannot be read, or its lines do not fit the files.
    """
    if labels == "none":
        return {}
    if labels == "folders":
        parts = {ids[path]: path.relative_to(folder).parts for folder, path in files}
        return {id_: part[0] for id_, part in parts.items() if len(part) > 1}
    return read_csv(Path(labels), [ids[path] for _, path in files])


def index_classes(
    labels: str, names: Mapping[str, str], usable: Container[str], *, fewest: int = 2
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes in the order of their index, and the index of each labelled image.

    Args:
        labels: as for `read_class_names`.
        names: what it returned.
        usable: the ids of usable images; a folder with none of them is not a class.
        fewest: the number of classes that is needed.

    Raises:
        InputError: there are fewer classes.
    """
    if labels == "none":
        return (), {}
    kept = {id_: name for id_, name in names.items() if id_ in usable}
    classes = tuple(sorted(set(kept.values())))
    if len(classes) < fewest:
        by_folder = labels == "folders"
        where = "data.labels is `folders`, but the images folder" if by_folder else labels
        hint = "Put each class into a folder of its own, or use a CSV, or `labels: none`."
        hint = hint if by_folder else "At least two classes are needed; or use `labels: none`."
        raise InputError(f"{where} has {len(classes)} classes ({', '.join(classes)}).\n  {hint}")
    index = {name: position for position, name in enumerate(classes)}
    return classes, {id_: index[name] for id_, name in kept.items()}


def read_csv(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Return labels by image id. An image may be missing or have no label; unknown images fail.

    Columns other than image,label are ignored. The separator may also be a semicolon or a tab, as
    spreadsheets write them. The path of an image may have the form that Label Studio exports.

    Args:
        path: the file.
        ids: of all images that may be in it.

    Raises:
        InputError: it cannot be read, or lines do not fit the images; names each line.
    """
    known, labels, mistakes = set(ids), dict[str, str](), list[str]()
    for line, (image, label) in _lines(path):
        id_ = _id_in(known, image)
        where = f"{path}:{line}"
        if id_ is None:
            wanted = Path(os.path.normpath(image)).as_posix()
            close = difflib.get_close_matches(wanted, known, n=1) if len(mistakes) < 10 else []
            hint = f"; did you mean {close[0]}?" if close else ""
            mistakes.append(f"{where}: no such image below data.images: {image!r}{hint}")
        elif label and labels.setdefault(id_, label) != label:
            mistakes.append(f"{where}: {image} is {label!r} here and {labels[id_]!r} above")
    if mistakes:
        more = f"\n  and {len(mistakes) - 10} more" if len(mistakes) > 10 else ""
        raise InputError("\n  ".join(mistakes[:10]) + more)
    return labels


def read_known_labels(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Return labels by image id from a CSV as `read_csv` does, but skip unknown images.

    Raises:
        InputError: it cannot be read.
    """
    known = set(ids)
    labels = ((_id_in(known, image), label) for _, (image, label) in _lines(path))
    return {id_: label for id_, label in labels if id_ is not None and label}


def _lines(path: Path) -> list[tuple[int, tuple[str, str]]]:
    """Return each image with its label, after its line number."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; save it as `CSV UTF-8`") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    header = next(iter(text.splitlines()), "")
    separators = [mark for mark in ",;\t" if {"image", "label"} <= set(_cells(header, mark))]
    if not separators:
        raise InputError(f"{path}:1: the columns image,label are needed; got {header!r}")
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separators[0])
    try:
        return [(rows.line_num, (row["image"] or "", (row["label"] or "").strip())) for row in rows]
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV: {error}") from error


def _cells(header: str, separator: str) -> list[str]:
    return next(csv.reader([header], delimiter=separator), [])


def _id_in(known: Container[str], image: str) -> str | None:
    """Find the id for a cell: as written, stripped, normalised, or from Label Studio."""
    paths = [image, image.strip()]
    if image.startswith(LOCAL_FILES):
        below_root = unquote(image.removeprefix(LOCAL_FILES))
        paths.append(below_root.partition("/")[2])
    paths += [Path(os.path.normpath(path)).as_posix() for path in paths]
    return next((path for path in paths if path in known), None)
