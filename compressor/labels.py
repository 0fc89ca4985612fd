"""What is known of the classes of the images: from folders or from a CSV."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from runtime.errors import InputError

UNLABELLED = -1


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
    return _read_csv(Path(labels), {path: ids[path] for _, path in found})


def classes_of(
    labels: str, names: Mapping[str, str], usable: Container[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Classes in the order of their index, and the index of each labelled image.

    Args:
        labels: as for `names_of`.
        names: what it gave.
        usable: the ids of images; a folder of other files only is no class.

    Raises:
        InputError: under two classes.
    """
    if labels == "none":
        return (), {}
    kept = {id_: name for id_, name in names.items() if id_ in usable}
    classes = tuple(sorted(set(kept.values())))
    if len(classes) < 2:
        by_folder = labels == "folders"
        where = "data.labels is `folders`, but the images folder" if by_folder else labels
        hint = "Put each class into a folder of its own, or use a CSV, or `labels: none`."
        hint = hint if by_folder else "At least two classes are needed; or use `labels: none`."
        raise InputError(f"{where} has {len(classes)} classes ({', '.join(classes)}).\n  {hint}")
    index = {name: position for position, name in enumerate(classes)}
    return classes, {id_: index[name] for id_, name in kept.items()}


def _read_csv(path: Path, ids: Mapping[Path, str]) -> dict[str, str]:
    """Labels by image id; an image may be missing or its label empty, but not unknown."""
    known, labels, mistakes = set(ids.values()), dict[str, str](), list[str]()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    rows = csv.DictReader(text.splitlines())
    try:
        lines = [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV: {error}") from error
    if not {"image", "label"} <= set(rows.fieldnames or ()):
        got = ",".join(rows.fieldnames or ())
        raise InputError(f"{path}:1: the columns image,label are wanted; got {got!r}")
    for line, row in lines:
        image, label = (row["image"] or "").strip(), (row["label"] or "").strip()
        where = f"{path}:{line}"
        id_ = Path(os.path.normpath(image)).as_posix()
        if id_ not in known:
            close = difflib.get_close_matches(id_, known, n=1) if len(mistakes) < 10 else []
            hint = f"; did you mean {close[0]}?" if close else ""
            mistakes.append(f"{where}: no such image below data.images: {image!r}{hint}")
        elif label and labels.setdefault(id_, label) != label:
            mistakes.append(f"{where}: {image} is {label!r} here and {labels[id_]!r} above")
    if mistakes:
        more = f"\n  and {len(mistakes) - 10} more" if len(mistakes) > 10 else ""
        raise InputError("\n  ".join(mistakes[:10]) + more)
    return labels
