"""What is known of the classes of the images: from folders or from a CSV."""

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
"""How Label Studio names a file on its own machine; the path after it begins with data.images."""


def names_of(
    labels: str, found: Sequence[tuple[Path, Path]], ids: Mapping[Path, str]
) -> dict[str, str]:
    """The name of the class of each labelled file, by its id.

    Args:
        labels: `folders`, `none`, or the path of a CSV with the columns image,label.
        found: each file, after the folder it was found below.
        ids: the id of each file.

    Raises:
        InputError: a CSV that cannot be read or whose lines do not fit the files.
    """
    if labels == "none":
        return {}
    if labels == "folders":
        parts = {ids[path]: path.relative_to(folder).parts for folder, path in found}
        return {id_: part[0] for id_, part in parts.items() if len(part) > 1}
    return read_csv(Path(labels), [ids[path] for _, path in found])


def classes_of(
    labels: str, names: Mapping[str, str], usable: Container[str], *, fewest: int = 2
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Classes in the order of their index, and the index of each labelled image.

    Args:
        labels: as for `names_of`.
        names: what it gave.
        usable: the ids of images; a folder of other files only is no class.
        fewest: classes that there must be.

    Raises:
        InputError: there are fewer.
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
    """Labels by image id; an image may be missing or its label empty, but not unknown.

    Columns other than image,label are no matter. The separator may be a semicolon or a tab, as
    spreadsheets write them; the path of an image may be as Label Studio exports it.

    Args:
        path: the file.
        ids: of all images that may be in it.

    Raises:
        InputError: it cannot be read, or its lines do not fit the images; each by its line.
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


def known_in(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Labels by image id in a CSV as `read_csv` reads it; unknown images are passed over.

    Raises:
        InputError: it cannot be read.
    """
    known = set(ids)
    found = ((_id_in(known, image), label) for _, (image, label) in _lines(path))
    return {id_: label for id_, label in found if id_ is not None and label}


def _lines(path: Path) -> list[tuple[int, tuple[str, str]]]:
    """Each image with its label, after the number of its line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; save it as `CSV UTF-8`") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    header = next(iter(text.splitlines()), "")
    separators = [each for each in ",;\t" if {"image", "label"} <= set(_cells(header, each))]
    if not separators:
        raise InputError(f"{path}:1: the columns image,label are wanted; got {header!r}")
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separators[0])
    try:
        return [(rows.line_num, (row["image"] or "", (row["label"] or "").strip())) for row in rows]
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV: {error}") from error


def _cells(header: str, separator: str) -> list[str]:
    return next(csv.reader([header], delimiter=separator), [])


def _id_in(known: Container[str], image: str) -> str | None:
    """The id that a cell means: as it is, without blanks, normalised, or of Label Studio."""
    written = [image, image.strip()]
    if image.startswith(LOCAL_FILES):
        below_root = unquote(image.removeprefix(LOCAL_FILES))
        written.append(below_root.partition("/")[2])
    ways = [*written, *(Path(os.path.normpath(each)).as_posix() for each in written)]
    return next((each for each in ways if each in known), None)
