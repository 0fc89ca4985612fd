"""JSON documents: the one reader of them, and each as a msgspec struct, checked when it is read.

A mistake is one line with the file, the key, what was expected and what is there:

    bundle.json: target.batches[0]: expected int >= 1, got 0

Unknown keys are ignored, so that a file of a newer minor version can still be read.
"""

from __future__ import annotations

import json
import math
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec
from msgspec import Meta

from runtime.errors import InputError

T = TypeVar("T")

Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Number = Annotated[float, Meta(gt=-1e9, lt=1e9)]
"""A finite number; nothing that we measure comes near the limits."""
Positive = Annotated[float, Meta(gt=0, lt=1e9)]
Precision = Literal["fp32", "fp16", "int8"]
"""What a deployable file computes in."""


MOST_BYTES = 256_000_000
"""Of a JSON file; a data set of a million images takes a half of it."""
MOST_LEVELS = 64
"""Of lists and objects in each other; our documents have eight."""
MOST_DIGITS = 19
"""Of a whole number: all of 64 bits have so many."""


def read_json(path: Path) -> Any:
    """Read one JSON document of unknown origin.

    Raises:
        InputError: the file is missing, is not JSON in UTF-8, is too large or too deep, or holds a
            number or a text that no file of ours can hold.
    """
    try:
        status = path.stat()
        size = status.st_size
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ValueError("a pipe or a device; reading it might never end")
        if size > MOST_BYTES:
            raise ValueError(f"{size:,} bytes; the limit is {MOST_BYTES:,}")
        return parse(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error


def parse(content: bytes | str) -> Any:
    """Return the values of one JSON document of unknown origin.

    Raises:
        ValueError: it is none, or holds what `read_json` refuses.
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    try:
        document = json.loads(
            text, parse_constant=_refuse, parse_int=_whole_number, parse_float=_number
        )
    except RecursionError as error:
        raise ValueError(f"lists and objects are in each other over {MOST_LEVELS} deep") from error
    _require_plain(document, escaped="\\u" in text)
    return document


def decoded(content: bytes, kind: type[T]) -> T:
    """Return a JSON document of unknown origin as a struct; what the struct has not is passed over.

    For files of hundreds of megabytes: only the keys of the struct become values.

    Raises:
        ValueError: it is none, or a key is wrong.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits; at most {MOST_DIGITS}")
    return int(digits)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond all numbers")
    return number


def _require_plain(document: object, *, escaped: bool) -> None:
    """Refuse depths and texts that no code of ours can take. Level by level, without recursion."""
    level: list[object] = [document]
    for _ in range(MOST_LEVELS + 1):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
                if escaped:
                    inner += value
            elif isinstance(value, list):
                inner += value
            elif escaped and isinstance(value, str):
                value.encode()  # half of a pair of surrogates is no text
        if not inner:
            return
        level = inner
    raise ValueError(f"lists and objects are in each other over {MOST_LEVELS} deep")


def read(path: Path, kind: type[T], *, what: str, newest: int | None = None) -> T:
    """Read a JSON file as a struct.

    Args:
        path: the file.
        kind: the struct, or a list of structs.
        what: what the file describes, for messages.
        newest: the highest `schema_version` that this code reads; None: the file has no version.

    Raises:
        InputError: the file is missing, is not JSON, is of a newer version, or a key is wrong.
    """
    document = read_json(path) if newest is None else read_object(path, what=what, newest=newest)
    return typed(document, kind, path)


def read_object(path: Path, *, what: str, newest: int) -> dict[str, Any]:
    """Read a JSON object that carries a `schema_version`.

    Raises:
        InputError: the file is missing, is something else, or is of a newer version.
    """
    document = read_json(path)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path}: does not describe a {what} (it has no `schema_version`)")
    if version > newest:
        raise InputError(
            f"{path}: version {version} of the {what}; this edge-compressor reads up to {newest}. "
            "Install a newer one."
        )
    versioned: dict[str, Any] = document
    return versioned


def typed(document: object, kind: type[T], path: Path) -> T:
    """Return plain JSON values as a struct.

    Raises:
        InputError: a key is missing or wrong; the message names it and `path`.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {_explained(str(error), document)}") from error
    except OverflowError as error:
        raise InputError(f"{path}: holds a number that is too large ({error})") from error


def plain(document: object) -> Any:
    """Return a struct as plain JSON values: dicts, lists, text and numbers."""
    return msgspec.json.decode(msgspec.json.encode(document))


_ABOUT_A_KEY = re.compile(r"Object (missing required|contains unknown) field `(.+)`")
_NAMES = {"NoneType": "null", "list": "array", "dict": "object"}


def _explained(message: str, document: object) -> str:
    """Rewrite a message of msgspec: the key first, then what was expected and what is there."""
    text, _, place = message.partition(" - at `$")
    key = place.rstrip("`").removeprefix(".")
    if about := _ABOUT_A_KEY.fullmatch(text):
        problem = "missing" if about[1] == "missing required" else "unknown key"
        return f"{_joined(key, about[2])}: {problem}"
    if text.startswith("Expected "):
        expected, _, got = text.removeprefix("Expected ").replace("`", "").partition(", got ")
        if "..." not in key:  # a key of a mapping, which msgspec does not name
            got = _shown(_value_at(document, key))
        return f"{key or 'the document'}: expected {expected}, got {got}"
    if text[:1].isupper():
        return f"{key}: {text[0].lower()}{text[1:]}"
    return _joined(key, text)  # raised by a struct's __post_init__, as `key: reason`


def _joined(parent: str, key: str) -> str:
    return f"{parent}.{key}" if parent else key


def _value_at(document: Any, key: str) -> Any:
    for name, number in re.findall(r"([^.\[\]]+)|\[(\d+)\]", key):
        document = document[int(number)] if number else document[name]
    return document


def _shown(value: object) -> str:
    name = type(value).__name__
    if isinstance(value, (list, dict)):
        return f"{_NAMES[name]} of {len(value)}"
    if isinstance(value, str):
        return f"str {value[:60]!r}"
    return "null" if value is None else f"{name} {str(value)[:60]}"
