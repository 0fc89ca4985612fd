"""A score with its interval, and how scores lie flat in JSON: `x` with `x_ci` beside it.

In memory a struct holds `Score` values. In JSON a field `loss: Score` is written as `loss` and
`loss_ci`; the entries of a field `scores: dict[str, Score]` lie among the keys of the struct
itself, and so do those of `series: dict[str, tuple[Score, ...]]`, as lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct, UnsetType

from runtime import documents
from runtime.errors import InputError
from runtime.metrics import Estimate

T = TypeVar("T", bound=Struct)
_INTERVAL = "_ci"


class Score(Struct, frozen=True):
    """A number that rests on held-out images, with its 95 % interval over images."""

    value: float
    low: float
    high: float


def as_scores(found: Mapping[str, Estimate]) -> dict[str, Score]:
    """Estimates without their resamples."""
    return {key: as_score(estimate) for key, estimate in found.items()}


def as_score(estimate: Estimate) -> Score:
    """An estimate without its resamples."""
    return Score(estimate.value, estimate.low, estimate.high)


# --- writing ---------------------------------------------------------------------------------


def to_json(value: object) -> Any:
    """Return plain JSON values of a struct, a list or a mapping, with scores laid flat."""
    if isinstance(value, Struct):
        document = dict[str, object]()
        for field in msgspec.structs.fields(value):
            held = getattr(value, field.name)
            if value.__struct_config__.omit_defaults and held == field.default:
                continue
            if field.name in _SPLICED:
                document |= _flat(held)
            elif isinstance(held, Score):
                document |= _flat({field.encode_name: held})
            elif held is not UNSET:
                document[field.encode_name] = to_json(held)
        return document
    if isinstance(value, Mapping):
        if value and all(isinstance(held, Score) for held in value.values()):
            return _flat(value)
        return {key: to_json(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(held) for held in value]
    return value


def _flat(scores: Mapping[str, Score | tuple[Score, ...]]) -> dict[str, object]:
    document = dict[str, object]()
    for key, held in scores.items():
        if isinstance(held, Score):
            document[key] = held.value
            document[key + _INTERVAL] = [held.low, held.high]
        else:
            document[key] = [score.value for score in held]
            document[key + _INTERVAL] = [[score.low, score.high] for score in held]
    return document


_SPLICED = ("scores", "series")


# --- reading ---------------------------------------------------------------------------------


def from_json(document: object, kind: type[T], path: Path) -> T:
    """Return the struct of a JSON document, checked field by field.

    Args:
        document: plain JSON values.
        kind: the type of the struct.
        path: the file, for messages.

    Raises:
        InputError: a field is missing or of another type; the message gives its path.
    """
    try:
        return documents.typed(_nested(document, kind, ""), kind, path)
    except _WrongScoreError as error:
        raise InputError(f"{path}: {error}") from error


class _WrongScoreError(Exception):
    """A score that is no number, or whose interval is no pair; the message begins with its path."""


def _nested(value: object, kind: Any, path: str) -> object:
    """The document with its flat scores gathered into objects, as `msgspec.convert` wants them."""
    kind, inner = _unwrapped(kind)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, Struct):
        return _nested_struct(value, kind, path)
    if isinstance(value, dict) and inner is Score:
        return _gathered(value, path, skip=frozenset())
    if isinstance(value, dict) and kind is dict:
        return {key: _nested(held, inner, f"{path}.{key}") for key, held in value.items()}
    if isinstance(value, list) and kind is tuple:
        return [_nested(held, inner, f"{path}[{n}]") for n, held in enumerate(value)]
    return value


def _nested_struct(value: dict[str, object], kind: type[Struct], path: str) -> dict[str, object]:
    document, fields = dict[str, object](), _fields(kind)
    names = frozenset(name for _, name, _ in fields)
    for field, name, declared in fields:
        below = f"{path}.{name}"
        if field in _SPLICED:
            document[name] = _gathered(value, path, skip=names)
        elif name in value and _unwrapped(declared)[0] is Score and value[name] is not None:
            interval = value.get(name + _INTERVAL) or [value[name]] * 2  # without one: exact
            document[name] = _score(value[name], interval, below)
        elif name in value:
            document[name] = _nested(value[name], declared, below)
    return document


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, str, Any], ...]:
    """Name in memory, name in JSON and type of each field."""
    return tuple(
        (field.name, field.encode_name, field.type) for field in msgspec.structs.fields(kind)
    )


def _unwrapped(kind: Any) -> tuple[Any, Any]:
    """A type without `None` and UNSET, or its origin; and the type of what it holds."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [option for option in get_args(kind) if option not in (type(None), UnsetType)]
        kind = kinds[0] if len(kinds) == 1 else object
    origin, inner = get_origin(kind), get_args(kind)
    if origin is dict:
        return dict, inner[1]
    return (tuple, inner[0]) if origin in (tuple, list) else (kind, None)


def _gathered(value: dict[str, object], path: str, *, skip: frozenset[str]) -> dict[str, object]:
    """Every key that has an interval beside it, as a score."""
    found = dict[str, object]()
    for key, held in value.items():
        interval = value.get(key + _INTERVAL)
        if key in skip or interval is None:
            continue
        below = f"{path}.{key}"
        if isinstance(held, list):
            pairs = interval if isinstance(interval, list) else []
            if len(pairs) != len(held):
                wrong = f"{below.lstrip('.')}{_INTERVAL}"
                raise _WrongScoreError(f"{wrong}: expected {len(held)} pairs")
            found[key] = [
                _score(*pair, f"{below}[{n}]")
                for n, pair in enumerate(zip(held, pairs, strict=True))
            ]
        else:
            found[key] = _score(held, interval, below)
    return found


def _score(value: object, interval: object, path: str) -> dict[str, object]:
    path = path.lstrip(".")
    if not _is_number(value):
        raise _WrongScoreError(f"{path}: expected float, got {_named(value)}")
    if not (isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval))):
        raise _WrongScoreError(f"{path}{_INTERVAL}: expected two numbers, got {_named(interval)}")
    low, high = cast("list[float]", interval)
    return {"value": value, "low": low, "high": high}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _named(value: object) -> str:
    names = {type(None): "null", dict: "object", list: "array"}
    return names.get(type(value), type(value).__name__)
