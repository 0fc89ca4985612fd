"""The golden set's arrays on disk: safetensors, and the `.npz` of version 1, both read with care.

No array is larger than its file, all together take at most MAX_BYTES, and nothing is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from runtime.arrays import AnyArray
from runtime.errors import InputError
from runtime.files import replacing
from runtime.text import amount

NAME = "golden.safetensors"
NAME_OF_VERSION_1 = "golden.npz"
MAX_BYTES = 2_000_000_000
"""Of all arrays together. 50,000 held-out images of the widest teachers take a tenth of it."""

# What numpy, zipfile and safetensors raise on damaged files, beside SafetensorError.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    zipfile.BadZipFile,
    zlib.error,
)


def write(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write arrays as safetensors; the same bytes for the same arrays."""
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)


def read(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of a `.safetensors` or of a `.npz` of version 1, by name.

    Raises:
        InputError: the file is missing, damaged, holds something else than arrays of numbers, or
            more than MAX_BYTES of them.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        if path.name == NAME_OF_VERSION_1:
            return _from_version_1(path)
        _check_size(path, path.stat().st_size)  # the arrays are not compressed
        return load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (*_DAMAGE, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error})") from error


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise InputError(f"{path}: would take {amount(size)}; the limit is {amount(MAX_BYTES)}")


# --- version 1 -------------------------------------------------------------------------------


def _from_version_1(path: Path) -> dict[str, AnyArray]:
    with path.open("rb") as raw, zipfile.ZipFile(raw) as archive:
        members = archive.infolist()
        _check_size(path, sum(member.file_size for member in members))
        arrays = dict(_npy(archive, member) for member in members)
    return {_NAMES_OF_VERSION_1.get(name, name): array for name, array in arrays.items()}


def _npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, AnyArray]:
    """Return one member, read only after its header was compared with its size."""
    formats = np.lib.format
    with archive.open(member) as file:
        version = formats.read_magic(file)
        readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
        shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects, not numbers")
    if prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} claims to be {list(shape)}, more than it holds")
    with archive.open(member) as file:
        return member.filename.removesuffix(".npy"), formats.read_array(file, allow_pickle=False)


_NAMES_OF_VERSION_1 = {
    "teacher_ood_inside": "teacher_nearest",
    "teacher_ood_outside": "outside.teacher_nearest",
    "student_ood_embedding": "outside.student_embedding",
    "teacher_ood_logits": "outside.teacher_logits",
    "student_ood_logits": "outside.student_logits",
    "teacher_mahalanobis_inside": "teacher_mahalanobis",
    "teacher_mahalanobis_outside": "outside.teacher_mahalanobis",
    "teacher_probe": "teacher_probe.answers",
    "teacher_probe_logits": "teacher_probe.logits",
    "linear_weight": "linear_probe.weight",
    "linear_bias": "linear_probe.bias",
    "map_turn": "orthogonal_map.turn",
    "map_source_mean": "orthogonal_map.source_mean",
    "map_target_mean": "orthogonal_map.target_mean",
    "corrupted_rows": "corrupted.rows",
    "corrupted_seeds": "corrupted.seeds",
    "teacher_corrupted_answers": "corrupted.teacher.answers",
    "teacher_corrupted_stability": "corrupted.teacher.stability",
    "student_corrupted_answers": "corrupted.student.answers",
    "student_corrupted_stability": "corrupted.student.stability",
}
