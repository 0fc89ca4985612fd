"""Which columns of a Parquet file have images and their classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressor.data.layout.label_csv import IMAGE_COLUMNS, LABEL_COLUMNS
from runtime import documents
from runtime.errors import InputError


@dataclass(frozen=True)
class Columns:
    """Where images and classes are."""

    content: str
    """Path of the column of bytes: `image.bytes`, or `image`."""
    path: str | None
    """Path of the column of file names, which only give the ends of names."""
    label: str | None
    classes: Sequence[str] | None
    """Names of the classes whose numbers are in `label`; None: it has the names themselves."""
    others: Sequence[str] = ()
    """Further columns of classes."""


def columns_of(schema: Any, where: str) -> Columns:
    """Find the columns: by what `datasets` wrote of them, else by their names and types.

    Args:
        schema: pyarrow's, of a file.
        where: the file, for messages.

    Raises:
        InputError: there is no column of images.
    """
    features = _features(schema.metadata or {})
    fields = {field.name: field for field in schema}
    typed = [name for name, kind in features.items() if kind.get("_type") == "Image"]
    named = [name for name in fields if _plain(name) in IMAGE_COLUMNS]
    image = next((name for name in (*typed, *named) if _holds_images(fields.get(name))), None)
    image = image or next((name for name in fields if _holds_images(fields[name])), None)
    if image is None:
        raise InputError(
            f"{where}: no column of images (bytes, or bytes and path) among {', '.join(fields)}"
        )
    classes = [name for name, kind in features.items() if kind.get("_type") == "ClassLabel"]
    others = [name for name in fields if _plain(name) in LABEL_COLUMNS and name not in classes]
    found = [name for name in (*classes, *others) if _holds_classes(fields.get(name))]
    label = next((name for name in found if name == "label"), found[0] if found else None)
    names = features.get(label or "", {}).get("names")
    inner = {each.name for each in fields[image].type} if _is_struct(fields[image]) else set()
    return Columns(
        content=f"{image}.bytes" if inner else image,
        path=f"{image}.path" if "path" in inner else None,
        label=label,
        classes=names if isinstance(names, list) else None,
        others=[name for name in found if name != label],
    )


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Return what `datasets` notes of its columns; none where another program wrote the file."""
    try:
        noted = documents.parse(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: kind for name, kind in noted.items() if isinstance(kind, dict)}


def _plain(name: str) -> str:
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _is_struct(field: Any) -> bool:
    return bool(field.type.num_fields)


def _holds_images(field: Any) -> bool:
    if field is None:
        return False
    kinds = {each.name: str(each.type) for each in field.type} if _is_struct(field) else {}
    return (kinds.get("bytes") or str(field.type)) in ("binary", "large_binary")


def _holds_classes(field: Any) -> bool:
    if field is None:
        return False
    coded = _OF_CATEGORIES.match(str(field.type))
    return (coded[1] if coded else str(field.type)) in (
        "string", "large_string", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16",
        "uint32", "uint64",
    )  # fmt: skip


_OF_CATEGORIES = re.compile(r"dictionary<values=(\w+), ")
"""How Arrow writes the type of a categorical column of pandas."""
