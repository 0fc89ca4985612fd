"""What an ONNX file asks of ONNX Runtime: which is the first that reads it. Needs no `onnx`."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runtime.errors import InputError

# ONNX Runtime's own table (docs/Versioning.md there): the first release that reads each.
_SINCE_OPSET = {14: (1, 8), 15: (1, 10), 16: (1, 11), 17: (1, 12), 18: (1, 14), 19: (1, 15),
                20: (1, 17), 21: (1, 18)}  # fmt: skip
_SINCE_IR = {8: (1, 10), 9: (1, 15), 10: (1, 18)}
_TOO_NEW = re.compile(r"Unsupported model IR version|is under development|support .* till opset")
"""How ONNX Runtime words that it is older than a file."""

_IR, _GRAPH, _OPSETS = 1, 7, 8
"""Fields of ModelProto in onnx.proto."""
_DOMAIN, _VERSION = 1, 2
"""Fields of OperatorSetIdProto."""


@dataclass(frozen=True)
class OnnxVersions:
    """The versions that an ONNX file is written in."""

    ir: int
    opset: int
    """Of the standard operators."""

    @property
    def since(self) -> tuple[int, int] | None:
        """The first ONNX Runtime that reads both; None if it is newer than this table."""
        if self.ir > max(_SINCE_IR) or self.opset > max(_SINCE_OPSET):
            return None
        return max(_SINCE_IR.get(self.ir, (1, 0)), _SINCE_OPSET.get(self.opset, (1, 0)))


def versions_of(path: Path) -> OnnxVersions:
    """Read the versions of an ONNX file; its graph is passed over.

    Raises:
        InputError: it is no ONNX file, or it ends too early.
    """
    ir, opset = 0, 0
    try:
        with path.open("rb") as file:
            for field, value in _fields(file, path.stat().st_size):
                if field == _IR and isinstance(value, int):
                    ir = value
                elif field == _OPSETS and isinstance(value, bytes):
                    opset = max(opset, _standard(value))
    except (EOFError, ValueError) as error:
        raise InputError(f"{path}: not a whole ONNX file ({error})") from error
    if not ir:
        raise InputError(f"{path}: not an ONNX file")
    return OnnxVersions(ir, opset)


def why_too_old(path: Path, installed: str, error: str) -> str | None:
    """Return why ONNX Runtime is too old for a file, and the way out; None if it is not.

    Args:
        path: the file.
        installed: the version of ONNX Runtime.
        error: what it said of the file.

    Raises:
        InputError: as for `versions_of`.
    """
    versions = versions_of(path)
    have = tuple(int(part) for part in re.findall(r"\d+", installed)[:2])
    since = versions.since
    if not _TOO_NEW.search(error) and not (since is not None and have < since):
        return None
    wanted = "a newer one" if since is None or have >= since else "{}.{} or newer".format(*since)
    return (
        f"{path}: ONNX Runtime {installed} is too old for this file, which is written in IR "
        f"{versions.ir}, operator set {versions.opset}. It needs {wanted}.\n"
        "  pip install --upgrade onnxruntime   (Jetson: NVIDIA's wheel for a newer JetPack)"
    )


def _standard(entry: bytes) -> int:
    """Return the version of an OperatorSetIdProto; 0 if it is not of the standard operators."""
    fields = dict(_fields(io.BytesIO(entry), len(entry)))
    version = fields.get(_VERSION, 0)
    named = fields.get(_DOMAIN, b"") not in (b"", b"ai.onnx")
    return 0 if named or not isinstance(version, int) else version


def _fields(file: BinaryIO, size: int) -> list[tuple[int, int | bytes]]:
    """Return the fields of a protobuf message: numbers and short bytes; a graph is passed over."""
    found = list[tuple[int, int | bytes]]()
    while file.tell() < size:
        field, kind = divmod(_varint(file), 8)
        if kind == 0:
            found.append((field, _varint(file)))
        elif kind == 2:
            length = _varint(file)
            if file.tell() + length > size:
                raise EOFError("it ends too early")
            if field == _GRAPH:
                file.seek(length, 1)
            else:
                found.append((field, file.read(length)))
        elif kind in (1, 5):
            file.seek(8 if kind == 1 else 4, 1)
        else:
            raise ValueError("a field of an unknown kind")
    return found


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError("it ends too early")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number without end")
