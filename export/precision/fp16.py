"""FP16: weights and arithmetic in half precision, float32 at both ends of the file.

What stays float32 is found by measuring. ONNX Runtime has hardly any half-precision kernels on a
CPU and computes in float32 there, without a word; so the choice is made on a float32 graph whose
every tensor is rounded to half precision and back, as a device that keeps them so would do.
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

LARGEST = 65504.0
HEADROOM = 2.0
"""Images never seen may reach further than those that were: a tensor that comes within this factor
of the largest half-precision number stays float32."""
PARITY = 0.9999
"""Wanted of the cosine with the float32 file, for the worst validation image."""

_NEVER_ALONE = (*graph.MATRIX_OPERATORS, "Reshape", "Transpose", "Concat", "Slice", "Split",
                "Squeeze", "Unsqueeze", "Gather", "Expand", "Flatten", "Cast", "Identity",
                "Constant")  # fmt: skip
"""Operators that FP16 is there for, and those that only move numbers."""


@dataclass(frozen=True)
class Choice:
    """What stays float32, and why."""

    overflowing: tuple[str, ...]
    """Nodes that make or read a tensor that comes near the largest half-precision number."""
    operators: tuple[str, ...]
    """Kinds of operators that cost parity, in the order they were taken out of FP16."""
    parity_cosine_min: float
    """Of the rounded graph, on validation images."""
    wanted: float
    tried: tuple[tuple[str, float], ...]
    """Each kind that was tried, with the parity it would have given."""

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "kept_float32_for_overflow": list(self.overflowing),
            "kept_float32_for_parity": list(self.operators),
            "parity_cosine_min": self.parity_cosine_min,
            "parity_wanted": self.wanted,
            "tried": [{"operator": name, "parity_cosine_min": got} for name, got in self.tried],
        }


def make(
    source: Path, path: Path, calibration: Floats, validation: Floats, *, wanted: float = PARITY
) -> Choice:
    """Write the FP16 file of a float32 file.

    Args:
        source: the student in float32.
        path: the file to write.
        calibration: training images [N, 3, S, S], normalised, on which tensors are watched.
        validation: images on which parity is measured; neither are held-out images.
        wanted: parity below which operators are kept in float32.
    """
    model = onnx.load(source)
    choice = choose(model, calibration, validation, wanted=wanted)
    converted = fp16_types.convert(model, kept_nodes(model, choice))
    graph.save(converted, path, {"precision": "fp16", "fp16": choice.to_dict()})
    return choice


def choose(model: ModelProto, calibration: Floats, validation: Floats, *, wanted: float) -> Choice:
    """Find what must stay float32: first what overflows, then what costs most parity."""
    made_by = graph.float_outputs(model)
    too_large = set(_overflowing(graph.observe(model, calibration)))
    # What makes such a tensor, and what reads it.
    near = {made_by[name] for name in too_large}
    near |= {node.name for node in model.graph.node if too_large & set(node.input)}
    overflowing = tuple(sorted(near - set(graph.head(model))))
    expected = graph.embeddings(model, validation)

    def parity(operators: Sequence[str]) -> float:
        kept = _nodes(model, overflowing, operators)
        got = graph.embeddings(rounded(model, kept), validation)
        return float(graph.cosines(got, expected).min())

    operators, tried = list[str](), list[tuple[str, float]]()
    best = parity(operators)
    left = sorted({node.op_type for node in model.graph.node} - set(_NEVER_ALONE))
    while best < wanted and left:
        found = [(parity([*operators, each]), each) for each in left]
        tried += [(each, got) for got, each in found]
        reached, operator = max(found)
        if reached <= best:
            break
        best = reached
        operators.append(operator)
        left.remove(operator)
    return Choice(overflowing, tuple(operators), best, wanted, tuple(tried))


def kept_nodes(model: ModelProto, choice: Choice) -> set[str]:
    """Names of the nodes that stay float32, the head among them."""
    return _nodes(model, choice.overflowing, choice.operators)


def rounded(model: ModelProto, kept: Iterable[str]) -> ModelProto:
    """The float32 graph as half precision sees it: what a half node reads or makes is rounded."""
    kept, copied = set(kept), copy.deepcopy(model)
    floats = graph.float_outputs(model)
    read_in_half = {
        name for node in model.graph.node if node.name not in kept for name in node.input
    }
    for tensor in copied.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name in read_in_half:
            with np.errstate(over="ignore"):
                values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    precise = {name for name, maker in floats.items() if maker in kept}
    precise |= {each.name for each in model.graph.input}
    narrowed, nodes = dict[str, str](), list[NodeProto]()
    for node in copied.graph.node:
        if node.name in kept:
            nodes.append(node)
            continue
        for position, name in enumerate(node.input):
            if name in precise:
                if name not in narrowed:
                    narrowed[name] = f"{name}/narrowed"
                    nodes += _there_and_back(name, narrowed[name])
                node.input[position] = narrowed[name]
        nodes.append(node)
        for position, name in enumerate(node.output):
            if name in floats:
                node.output[position] = f"{name}/exact"
                nodes += _there_and_back(f"{name}/exact", name)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    return copied


def _there_and_back(name: str, rounded_name: str) -> list[NodeProto]:
    """Casts that ONNX Runtime does not leave out, since they lose something."""
    narrow = f"{rounded_name}/half"
    return [
        helper.make_node("Cast", [name], [narrow], narrow, to=TensorProto.FLOAT16),
        helper.make_node("Cast", [narrow], [rounded_name], f"{narrow}/back", to=TensorProto.FLOAT),
    ]


def _overflowing(seen: dict[str, Observed]) -> list[str]:
    return [name for name, each in seen.items() if not each.peak * HEADROOM <= LARGEST]


def _nodes(model: ModelProto, names: Iterable[str], operators: Sequence[str]) -> set[str]:
    of_kind = {node.name for node in model.graph.node if node.op_type in operators}
    return {*names, *of_kind, *graph.head(model), *fp16_types.always_float(model)}
