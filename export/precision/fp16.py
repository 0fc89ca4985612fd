"""FP16 files: weights and arithmetic in fp16, float32 at both ends.

Measurements decide what stays float32. On a CPU, ONNX Runtime has hardly any fp16 kernels and
computes in float32 silently. Therefore the measurements are made on a float32 graph that rounds
every tensor to fp16 and back, as a device with fp16 kernels does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export import graph
from export.graph import Observed
from export.precision import fp16_types
from runtime.arrays import Floats
from runtime.results.making import Fp16Decision, Fp16Trial
from runtime.results.scores import to_json

LARGEST = 65504.0
"""The largest fp16 number."""
HEADROOM = 2.0
"""Other images may give larger values than the calibration images: a tensor that comes within this
factor of the largest fp16 number stays float32."""
PARITY = 0.9999
"""Lowest acceptable cosine with the float32 file, for the worst validation image."""

_NEVER_ALONE = (*graph.MATRIX_OPERATORS, "Reshape", "Transpose", "Concat", "Slice", "Split",
                "Squeeze", "Unsqueeze", "Gather", "Expand", "Flatten", "Cast", "Identity",
                "Constant")  # fmt: skip
"""Operators that FP16 is made for, and those that only move numbers: never tried in float32."""


@dataclass(frozen=True)
class Float32Parts:
    """The parts of an FP16 file that stay float32, and the measurements behind that."""

    overflowing: tuple[str, ...]
    """Nodes that write or read a tensor close to the largest fp16 number."""
    operators: tuple[str, ...]
    """Operator types that cost parity, in the order they went back to float32."""
    parity_cosine_min: float
    """Parity of the rounded graph on validation images."""
    parity_wanted: float
    tried: tuple[tuple[str, float], ...]
    """Operator types tried in float32, each with the parity that it gave."""

    def result(self) -> Fp16Decision:
        """Return the decision for the report."""
        return Fp16Decision(
            kept_float32_for_overflow=self.overflowing,
            kept_float32_for_parity=self.operators,
            parity_cosine_min=self.parity_cosine_min,
            parity_wanted=self.parity_wanted,
            tried=tuple(Fp16Trial(name, parity) for name, parity in self.tried),
        )


def make(
    source: Path, path: Path, calibration: Floats, validation: Floats, *, parity: float = PARITY
) -> Float32Parts:
    """Write the FP16 file of a float32 file.

    Args:
        source: the student in float32.
        path: the file to write.
        calibration: training images [N, 3, S, S], normalised, on which tensors are measured.
        validation: images on which parity is measured. Neither are held-out images.
        parity: below it, operators go back to float32.
    """
    model = onnx.load(source)
    parts = find_float32_parts(model, calibration, validation, parity=parity)
    converted = fp16_types.convert(model, float32_nodes(model, parts))
    graph.save(converted, path, {"precision": "fp16", "fp16": to_json(parts.result())})
    return parts


def find_float32_parts(
    model: ModelProto, calibration: Floats, validation: Floats, *, parity: float
) -> Float32Parts:
    """Find the parts that must stay float32: those that overflow, then those that cost parity.

    Operator types go back to float32 one at a time, the one that gains most first, until the wanted
    parity is reached or none gains any more.
    """
    made_by = graph.float_outputs(model)
    too_large = set(_overflowing(graph.observe(model, calibration)))
    # The nodes that write such a tensor and those that read it.
    near = {made_by[name] for name in too_large}
    near |= {node.name for node in model.graph.node if too_large & set(node.input)}
    overflowing = tuple(sorted(near - set(graph.head(model))))
    expected = graph.embeddings(model, validation)

    def measure(operators: Sequence[str]) -> float:
        kept = _nodes(model, overflowing, operators)
        embeddings = graph.embeddings(rounded(model, kept), validation)
        return float(graph.cosines(embeddings, expected).min())

    operators, tried = list[str](), list[tuple[str, float]]()
    best = measure(operators)
    candidates = sorted({node.op_type for node in model.graph.node} - set(_NEVER_ALONE))
    while best < parity and candidates:
        measured = [(measure([*operators, operator]), operator) for operator in candidates]
        tried += [(operator, reached) for reached, operator in measured]
        reached, operator = max(measured)
        if reached <= best:
            break
        best = reached
        operators.append(operator)
        candidates.remove(operator)
    return Float32Parts(overflowing, tuple(operators), best, parity, tuple(tried))


def float32_nodes(model: ModelProto, parts: Float32Parts) -> set[str]:
    """Return the names of the nodes that stay float32; the head always does."""
    return _nodes(model, parts.overflowing, parts.operators)


def rounded(model: ModelProto, kept: Iterable[str]) -> ModelProto:
    """Return a float32 graph that rounds to fp16 whatever an fp16 node reads or writes."""
    kept, copied = set(kept), copy.deepcopy(model)
    floats = graph.float_outputs(model)
    read_as_fp16 = {
        name for node in model.graph.node if node.name not in kept for name in node.input
    }
    for tensor in copied.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name in read_as_fp16:
            with np.errstate(over="ignore"):
                values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    precise = {name for name, writer in floats.items() if writer in kept}
    precise |= {value.name for value in model.graph.input}
    narrowed, nodes = dict[str, str](), list[NodeProto]()
    for node in copied.graph.node:
        if node.name in kept:
            nodes.append(node)
            continue
        for position, name in enumerate(node.input):
            if name in precise:
                if name not in narrowed:
                    narrowed[name] = f"{name}/narrowed"
                    nodes += _rounding(name, narrowed[name])
                node.input[position] = narrowed[name]
        nodes.append(node)
        for position, name in enumerate(node.output):
            if name in floats:
                node.output[position] = f"{name}/exact"
                nodes += _rounding(f"{name}/exact", name)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    return copied


def _rounding(name: str, rounded_name: str) -> list[NodeProto]:
    """Return casts to fp16 and back; ONNX Runtime keeps them, since they lose digits."""
    narrow = f"{rounded_name}/half"
    return [
        helper.make_node("Cast", [name], [narrow], narrow, to=TensorProto.FLOAT16),
        helper.make_node("Cast", [narrow], [rounded_name], f"{narrow}/back", to=TensorProto.FLOAT),
    ]


def _overflowing(observed: dict[str, Observed]) -> list[str]:
    return [name for name, tensor in observed.items() if not tensor.peak * HEADROOM <= LARGEST]


def _nodes(model: ModelProto, names: Iterable[str], operators: Sequence[str]) -> set[str]:
    of_type = {node.name for node in model.graph.node if node.op_type in operators}
    return {*names, *of_type, *graph.head(model), *fp16_types.always_float(model)}
