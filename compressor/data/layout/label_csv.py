"""A CSV of labels, as people, spreadsheets and other programs write it; or JSON lines."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from compressor.data.layout.class_folders import class_name
from runtime import documents
from runtime.errors import InputError
from runtime.text import unguarded

LOCAL_FILES = "/data/local-files/?d="
"""Prefix of a local file in Label Studio; the path after it starts with data.images."""
IMAGE_COLUMNS = (
    "image", "images", "img", "file", "filename", "filepath", "path", "imagepath", "imagefile",
    "imagename", "imagefilename", "imageid", "picture", "photo",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "classes", "classname", "classlabel", "category", "categories",
    "categoryname", "labelname", "target", "tag",
)  # fmt: skip
"""Names of columns without case, spaces, `_` and `-`; the first of each is ours."""
_SHOWN = 10


def read_csv(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Return labels by image id. An image may be missing or have no label; unknown images fail.

    Other columns are ignored, and rows without image and label. The separator may also be a
    semicolon or a tab, as spreadsheets write them. The path of an image may have the form that
    Label Studio exports, backslashes, or composed characters where the file has decomposed ones.

    Args:
        path: the file.
        ids: of all images that may be in it.

    Raises:
        InputError: it cannot be read, or lines do not fit the images; names each line.
    """
    known, labels, mistakes = _Known(ids), dict[str, str](), list[str]()
    for row in _rows(path):
        id_ = known.id_of(row.image)
        where = f"{path}:{row.line}"
        if id_ is None:
            hint = known.suggestion(row.image) if len(mistakes) < _SHOWN else ""
            mistakes.append(f"{where}: no such image below data.images: {row.image!r}{hint}")
        elif row.label and labels.setdefault(id_, row.label) != row.label:
            mistakes.append(f"{where}: {row.image} is {row.label!r} here and {labels[id_]!r} above")
    if mistakes:
        more = f"\n  and {len(mistakes) - _SHOWN} more" if len(mistakes) > _SHOWN else ""
        raise InputError("\n  ".join(mistakes[:_SHOWN]) + more)
    return labels


def read_known_labels(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Return labels by image id from a CSV as `read_csv` does, but skip unknown images.

    Raises:
        InputError: it cannot be read, or gives an image two labels.
    """
    known, labels = _Known(ids), dict[str, str]()
    for row in _rows(path):
        id_ = known.id_of(row.image)
        if id_ is None or not row.label:
            continue
        if labels.setdefault(id_, row.label) != row.label:
            raise InputError(
                f"{path}:{row.line}: {row.image} is {row.label!r} here and {labels[id_]!r} above"
            )
    return labels


def lost_labels(path: Path, labels: Mapping[str, str]) -> list[str]:
    """Return the images with a label in a CSV that these labels by image id lack, or contradict.

    Raises:
        InputError: it cannot be read.
    """
    known = _Known(list(labels))
    rows = ((row, known.id_of(row.image)) for row in _rows(path) if row.label)
    return [row.image for row, id_ in rows if id_ is None or labels[id_] != row.label]


@dataclass(frozen=True)
class _Row:
    line: int
    image: str
    label: str


class _Known:
    """The images that a CSV may name."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = set(ids)
        self._composed: dict[str, str | None] = {}  # None: of two images
        for id_ in ids:
            name = unicodedata.normalize("NFC", id_)
            self._composed[name] = None if name in self._composed else id_

    def id_of(self, image: str) -> str | None:
        """Find the image that a cell names: as written if there is one, else in other forms."""
        names = [image, image.strip(), unguarded(image)]
        if image.startswith(LOCAL_FILES):
            names.append(unquote(image.removeprefix(LOCAL_FILES)).partition("/")[2])
        names += [name.replace("\\", "/") for name in names if "\\" in name]
        names += [Path(os.path.normpath(name)).as_posix() for name in names]
        as_written = next((name for name in names if name in self._ids), None)
        if as_written is not None:
            return as_written
        found = (self._composed.get(unicodedata.normalize("NFC", name)) for name in names)
        return next((id_ for id_ in found if id_ is not None), None)

    def suggestion(self, image: str) -> str:
        """Return a similar image, as the end of a message."""
        wanted = Path(os.path.normpath(image)).as_posix()
        close = difflib.get_close_matches(wanted, self._ids, n=1)
        return f"; did you mean {close[0]}?" if close else ""


def _rows(path: Path) -> Iterator[_Row]:
    """Yield each row that names an image or a label.

    Raises:
        InputError: the file cannot be read.
    """
    text = _text(path)
    if path.suffix.lower() == ".jsonl":
        yield from _json_rows(text, path)
        return
    separators = [text[4]] if re.match(r"sep=[^\w\s]", text) else list(",;\t")
    for separator in separators:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            header = next((cells for cells in rows if _is_header(cells)), [])
            columns = _columns(header, f"{path}:{rows.line_num}")
            if columns is None:
                continue
            image, label = columns
            for cells in rows:
                row = [*cells, *[""] * (max(columns) + 1 - len(cells))]
                found = _Row(rows.line_num, row[image], class_name(unguarded(row[label]).strip()))
                if found.image.strip() or found.label:
                    yield found
        except csv.Error as error:
            raise InputError(f"{path}:{rows.line_num}: not CSV: {error}") from error
        return
    first = next((line for line in text.splitlines() if line.strip()), "")
    raise InputError(
        f"{path}:1: the columns image,label are needed (or names such as filename,class); "
        f"got {first[:200]!r}"
    )


def _json_rows(text: str, path: Path) -> Iterator[_Row]:
    """Yield each row of JSON lines, as the `metadata.jsonl` of Hugging Face's `imagefolder` is."""
    columns: tuple[str, str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = documents.parse(line)
        except ValueError as error:
            raise InputError(f"{where}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: an object with keys is wanted, such as file_name and label")
        if columns is None:
            header = list(row)
            if (places := _columns(header, where)) is None:
                raise InputError(
                    f"{where}: the keys file_name and label are needed; got {', '.join(header)}"
                )
            columns = header[places[0]], header[places[1]]
        image, label = (row.get(key) for key in columns)
        if image:
            yield _Row(number, str(image), "" if label is None else class_name(str(label).strip()))


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a row is the first that says something; Excel puts `sep=;` before it."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and not (len(filled) == 1 and filled[0].startswith("sep="))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; save it as `CSV UTF-8`") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _columns(header: Sequence[str], where: str) -> tuple[int, int] | None:
    """Return the places of image and label; None if a column is missing."""
    names = ["".join(re.split(r"[\s_-]+", cell.casefold())) for cell in header]
    image = _place(names, IMAGE_COLUMNS, header, where)
    label = _place(names, LABEL_COLUMNS, header, where)
    return None if image is None or label is None else (image, label)


def _place(
    names: Sequence[str], wanted: Sequence[str], header: Sequence[str], where: str
) -> int | None:
    """Return the place of our own name for a column, else of the only other one."""
    found = [at for at, name in enumerate(names) if name == wanted[0]]
    found = found or [at for at, name in enumerate(names) if name in wanted]
    if len(found) > 1:
        several = ", ".join(header[at].strip() for at in found)
        raise InputError(f"{where}: which column is `{wanted[0]}`: {several}? Rename the one")
    return found[0] if found else None
