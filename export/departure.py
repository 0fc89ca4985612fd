"""Where a file departs from another one of the same student: the first layer with other answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from export import graph
from runtime.arrays import AnyArray, Floats
from runtime.results.ledger import Departure

APART = 0.1
"""Relative error of a tensor from which on it is another one: a right FP16 file stays under 0.01,
a right INT8 file mostly under it."""
_JUMP = 3.0
"""How many times the error of its inputs a layer makes of it, if the departure is its own."""
_AT_A_TIME = 32
"""Tensors that are held at once."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def first_departure(reference: Path, file: Path, images: AnyArray) -> Departure | None:
    """Compare every tensor that two ONNX files have in common, and return where they part.

    Args:
        reference: the file that is right, such as the student in FP32.
        file: another file of the same student.
        images: a few, as both files take them.

    Returns:
        The first layer whose error is above `APART`; None if there is none.

    Raises:
        FileNotMadeError: a file cannot be opened with its tensors exposed.
    """
    right, other = onnx.load(reference), onnx.load(file)
    types = [_float_tensors(model) for model in (right, other)]
    sessions = [graph.exposing(*pair) for pair in zip((right, other), types, strict=True)]
    names = [name for name in types[0] if name in types[1]]
    errors = dict[str, float]()
    for at in range(0, len(names), _AT_A_TIME):
        some = names[at : at + _AT_A_TIME]
        values = (graph.run(session, some, images) for session in sessions)
        errors |= {name: _error(*pair) for name, *pair in zip(some, *values, strict=True)}
    for node in right.graph.node:
        found = [errors[name] for name in node.output if name in errors]
        if found and max(found) > APART:
            before = max((errors[each] for each in node.input if each in errors), default=0.0)
            is_own = max(found) > _JUMP * before
            error = max(found) if np.isfinite(max(found)) else None
            return Departure(node.name or node.output[0], node.op_type, error, before, is_own)
    return None


def _float_tensors(model: ModelProto) -> dict[str, int]:
    return {name: kind for name, kind in graph.made_types(model).items() if kind in _FLOATS}


def _error(right: Floats, other: Floats) -> float:
    """Relative error; infinite where a value is not finite or the shapes differ."""
    if right.shape != other.shape or not np.isfinite(other).all():
        return float("inf")
    wide = right.astype(np.float64)
    apart, size = (float(np.sqrt(np.square(each).mean())) for each in (wide - other, wide))
    if apart == 0:
        return 0.0
    return apart / size if size else float("inf")
