"""Dataclasses of arrays that declare their axes; checks, files and row choices follow from that.

@dataclass(frozen=True)
class Answers:
embedding: Annotated[Floats, axes("N", "D")]
logits: Annotated[Floats, axes("N", "K")] | None = None
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from runtime.arrays import AnyArray, Ints

T = TypeVar("T")


@dataclass(frozen=True)
class Axes:
    """Sizes of an array: a letter is the same number in all arrays of a group, an int is itself."""

    names: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.names))}]"


def axes(*names: str | int) -> Axes:
    """Declare the axes of an array."""
    return Axes(names)


@dataclass(frozen=True)
class Declared:
    """A field of a group: an array, or a group of arrays."""

    name: str
    optional: bool
    group: type | None
    """The dataclass of a group; None for an array."""
    axes: Axes
    dtype: np.dtype[Any]


def declared(group: type) -> Iterator[Declared]:
    """Return the fields of a dataclass of arrays, as its annotations declare them."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        hint = hints[field.name]
        optional = NoneType in get_args(hint)
        if optional:
            (hint,) = (option for option in get_args(hint) if option is not NoneType)
        if isinstance(hint, type) and is_dataclass(hint):
            yield Declared(field.name, optional, hint, Axes(()), np.dtype(np.uint8))
        elif get_origin(hint) is Annotated:
            array, of_array = get_args(hint)
            (scalar,) = get_args(get_args(array)[1])
            yield Declared(field.name, optional, None, of_array, np.dtype(scalar))


def flat(group: Any, prefix: str = "") -> dict[str, AnyArray]:
    """Return the arrays of a group by name; those of an inner group are `group.array`."""
    found: dict[str, AnyArray] = {}
    for field in declared(type(group)):
        value = getattr(group, field.name)
        if value is not None and field.group:
            found |= flat(value, f"{prefix}{field.name}.")
        elif value is not None:
            found[f"{prefix}{field.name}"] = value
    return found


def grouped(kind: type[T], arrays: Mapping[str, AnyArray], prefix: str = "") -> T:
    """Return the group that `flat` gave; arrays that are not declared are ignored.

    Raises:
        ValueError: an array is missing, or holds another kind of number than declared.
    """
    values: dict[str, Any] = {}
    missing = []
    for field in declared(kind):
        name = f"{prefix}{field.name}"
        if field.group:
            present = any(each.startswith(f"{name}.") for each in arrays)
            inner = grouped(field.group, arrays, f"{name}.") if present else None
            values[field.name] = inner
        elif name in arrays:
            values[field.name] = _of_kind(name, arrays[name], field.dtype)
        else:
            values[field.name] = None
        if values[field.name] is None and not field.optional:
            missing.append(name)
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    return kind(**values)


def mismatches(group: Any, sizes: dict[str, int], prefix: str = "") -> Iterator[str]:
    """Return the arrays whose shapes do not agree, in words.

    Args:
        group: the arrays.
        sizes: what letters must be; those that are not there are taken from the first array.
        prefix: of the arrays' names.
    """
    for field in declared(type(group)):
        value, name = getattr(group, field.name), f"{prefix}{field.name}"
        if value is None:
            continue
        if field.group:
            yield from mismatches(value, sizes, f"{name}.")
            continue
        if value.ndim == len(field.axes.names):
            for letter, size in zip(field.axes.names, value.shape, strict=True):
                if isinstance(letter, str):
                    sizes.setdefault(letter, size)
        wanted = [sizes.get(each, each) for each in field.axes.names]  # type: ignore[arg-type]
        if list(value.shape) != wanted:
            yield f"{name} is {list(value.shape)}, not {field.axes} = {wanted}"


def rows_of(group: T, rows: Mapping[str, Ints]) -> T:
    """Return a group with some rows of every array whose first axis is among `rows`."""
    values: dict[str, Any] = {}
    for field in declared(type(group)):
        value = getattr(group, field.name)
        if value is not None and field.group:
            value = rows_of(value, rows)
        elif value is not None and field.axes.names[0] in rows:
            value = value[rows[str(field.axes.names[0])]]
        values[field.name] = value
    return type(group)(**values)


def _of_kind(name: str, values: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Return the values in the declared type, where they are of its kind."""
    kinds = {"f": "f", "i": "iu", "u": "u"}[dtype.kind]
    if values.dtype.kind not in kinds or (dtype.kind == "u" and values.dtype != dtype):
        raise ValueError(f"{name} holds {values.dtype}, not {dtype}")
    return values.astype(dtype, copy=False)
