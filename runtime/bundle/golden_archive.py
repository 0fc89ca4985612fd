"""golden.npz read with care: no array larger than its file, and all of the same images."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.bundle.golden_arrays import OF_CORRUPTED, OF_INSIDE, OF_OUTSIDE
from runtime.errors import InputError
from runtime.text import amount

MAX_BYTES = 2_000_000_000
"""Of all arrays together. 50,000 held-out images of the widest teachers take a tenth of it."""
# What numpy and zipfile raise on damaged files.
_DAMAGE = (OSError, ValueError, EOFError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error)

_OF_BANK = {"bank", "bank_labels"}

Arrays = dict[str, npt.NDArray[Any]]


def read(path: Path) -> Arrays:
    """The arrays of an `.npz`, by name.

    Raises:
        InputError: it is missing, damaged, holds what is no array of numbers, or more than
            MAX_BYTES of them.
    """
    try:
        with path.open("rb") as raw, zipfile.ZipFile(raw) as archive:
            members = archive.infolist()
            if (size := sum(each.file_size for each in members)) > MAX_BYTES:
                raise InputError(
                    f"{path}: would take {amount(size)}; the limit is {amount(MAX_BYTES)}"
                )
            return dict(_array(archive, each) for each in members)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged ({error})") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, npt.NDArray[Any]]:
    """One member, read only after its header was compared with its size."""
    formats = np.lib.format
    with archive.open(member) as file:
        version = formats.read_magic(file)
        readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
        shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects, not numbers")
    if prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} says that it is {list(shape)}, more than it holds")
    with archive.open(member) as file:
        return member.filename.removesuffix(".npy"), formats.read_array(file, allow_pickle=False)


def mismatches(arrays: Mapping[str, npt.NDArray[Any]], images: int, classes: int) -> Iterator[str]:
    """Arrays that are not of the same images, in words.

    Args:
        arrays: by name, as `read` gave them; some may be absent.
        images: N, the held-out images that are named.
        classes: K.
    """
    for name, values in arrays.items():
        if values.dtype.kind not in "fiub":
            yield f"{name} holds {values.dtype}, not numbers"
        elif values.ndim == 0:
            yield f"{name} is one number"
    wanted = dict.fromkeys(sorted(OF_INSIDE), images)
    for group in (OF_OUTSIDE, OF_CORRUPTED | {"corrupted_rows"}, _OF_BANK):
        there = [len(arrays[name]) for name in sorted(group & arrays.keys()) if arrays[name].ndim]
        wanted |= dict.fromkeys(group, there[0] if there else 0)
    for name, count in wanted.items():
        if name in arrays and arrays[name].ndim and len(arrays[name]) != count:
            yield f"{name} is of {len(arrays[name])} images, not {count}"
    for name in ("labels", "bank_labels"):
        if classes and name in arrays and arrays[name].size and arrays[name].max() >= classes:
            yield f"{name} names a class that is not there"
    for one, other in (("bank", "student_embedding"), ("student_ood_embedding", "bank")):
        pair = [arrays[name] for name in (one, other) if name in arrays]
        if len(pair) == 2 and {each.ndim for each in pair} == {2}:
            if pair[0].shape[1] != pair[1].shape[1]:
                yield f"{one} is {pair[0].shape[1]} wide, {other} {pair[1].shape[1]}"
        elif len(pair) == 2:
            yield f"{one} or {other} is no table"
