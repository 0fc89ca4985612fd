"""What a `.tflite` file computes in, read from the operands of its operators.

A number type in the file decides the kernel. A file with weights in int8 may still compute in
float32: its weights are widened before they are used ("weight-only"), or activations are floats
between the operators ("dynamic"). Neither is called INT8 here.

The format: https://ai.google.dev/edge/litert/conversion/tensorflow/schema
"""

from __future__ import annotations

import importlib
import math
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.documents import Precision
from runtime.errors import InputError, MissingDependencyError

SUFFIX = ".tflite"
INSTALL = "pip install 'edge-compressor[litert]'"
_WORKING = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV"}
)
"""Operators that do the work, in LiteRT's words. Their second operand is the weight ..."""
_ACTIVATION = {"TRANSPOSE_CONV": 2}
"""... and their first one the activation, but for this."""
_MOST_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Found:
    """The working operators of a file, and their weights."""

    operators: dict[str, int]
    """How many compute in float32, float16, int8, or `float32 with int8 weights`."""
    kept: dict[str, int]
    """How many numbers of their weights are kept in which type."""
    integer_weights: int
    """How many of these belong to operators that compute in int8."""

    @property
    def precision(self) -> Precision | None:
        """The precision that the file has, by the same shares as an engine; None if none."""
        total = max(1, sum(self.kept.values()))
        if self.integer_weights / total >= 0.5:
            return "int8"
        if self.kept.get("float16", 0) / total >= 0.9:
            return "fp16"
        return "fp32" if self.kept.get("float32", 0) / total >= 0.9 else None

    @property
    def in_words(self) -> str:
        """Return `46 operators in int8, 2 in float32; weights: int8 97 %, float32 3 %`."""
        total = max(1, sum(self.kept.values()))
        ran = ", ".join(f"{count} in {kind}" for kind, count in self.operators.items())
        kept = ", ".join(f"{kind} {100 * count / total:.0f} %" for kind, count in self.kept.items())
        return f"{ran.replace(' in ', ' operators in ', 1)}; weights: {kept}"


def read(path: Path) -> Found:
    """Read a `.tflite` file.

    Raises:
        InputError: there is no such file, or it is none.
        MissingDependencyError: LiteRT, which holds the schema, is not installed.
    """
    schema = _schema()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise ValueError("it does not say TFL3")
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        if any(each.offset + each.size > len(content) for each in model.buffers):
            raise ValueError("it ends before its weights do")
        return _found(model, schema)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (*_BROKEN, ValueError) as error:
        raise InputError(
            f"{path}: not a whole file of LiteRT ({error}). Copy the bundle again."
        ) from error


_BROKEN = (AttributeError, IndexError, KeyError, OverflowError, TypeError, struct.error)
"""What the schema's own reader raises in a file that is cut or written over."""


def _schema() -> ModuleType:
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError as error:
        raise MissingDependencyError(f"LiteRT is not installed: {INSTALL}") from error


def _found(model: Any, schema: ModuleType) -> Found:
    kinds, types = _names(schema.BuiltinOperator), _names(schema.TensorType)
    ran, kept, integers = Counter[str](), Counter[str](), 0
    (graph,) = model.subgraphs
    makers = {int(output): each for each in graph.operators for output in each.outputs}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if kind not in _WORKING:
            continue
        weight = int(operator.inputs[1])
        taken = graph.tensors[int(operator.inputs[_ACTIVATION.get(kind, 0)])]
        computed, used = types[taken.type], types[graph.tensors[weight].type]
        ran[computed if computed == used else f"{computed} with {used} weights"] += 1
        count, stored = _stored(graph, model, makers, weight)
        if count:
            kept[types[stored]] += count
            integers += count if computed == used == "int8" else 0
    return Found(dict(ran.most_common()), dict(kept.most_common()), integers)


def _stored(graph: Any, model: Any, makers: dict[int, Any], weight: int) -> tuple[int, int]:
    """Return how many numbers a weight has and the type it is kept in; 0 if it is computed.

    Its numbers lie in the flatbuffer, or behind it: then the buffer has an offset and a size.
    """
    while weight in makers:  # widened before it is used, or turned
        maker = makers[weight]
        if len(maker.inputs) != 1:
            return 0, 0
        weight = int(maker.inputs[0])
    tensor = graph.tensors[weight]
    buffer = model.buffers[tensor.buffer]
    if not (buffer.size or (buffer.data is not None and len(buffer.data))):
        return 0, 0
    return math.prod(int(side) for side in tensor.shape), int(tensor.type)


def _names(numbered: type) -> dict[int, str]:
    return {
        value: name.lower() if numbered.__name__ == "TensorType" else name
        for name, value in vars(numbered).items()
        if isinstance(value, int)
    }
