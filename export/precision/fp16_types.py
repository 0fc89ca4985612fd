"""A float32 graph with half precision inside: every tensor has one type, casts where they meet.

onnxruntime.transformers.float16 was tried: with nodes kept in float32 it wrote casts twice under
one name, out of order, and sent float32 results through half precision on their way to the output.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export import graph

_FLOAT_ONLY = {"Resize", "Upsample", "Range", "CumSum", "NonMaxSuppression", "TopK", "RoiAlign",
               "RandomUniformLike", "RandomNormalLike", "GridSample"}  # fmt: skip
"""Operators that take some of their inputs in float32 only, or lose what they are for."""
_SUFFIX: dict[int, str] = {TensorProto.FLOAT16: "half", TensorProto.FLOAT: "float"}


def always_float(model: ModelProto) -> set[str]:
    """Nodes that no graph may have in half precision: by their operator, or with graphs inside."""
    return {
        node.name
        for node in model.graph.node
        if node.op_type in _FLOAT_ONLY or any(each.HasField("g") for each in node.attribute)
    }


@dataclass
class _Types:
    """Types of the tensors so far, and the casts that were made of them."""

    of: dict[str, int]
    cast: dict[tuple[str, int], str] = field(default_factory=dict)
    nodes: list[NodeProto] = field(default_factory=list)

    def wanted(self, name: str, kind: int) -> str:
        """The name of a float tensor in a type; others stay what they are."""
        if self.of.get(name, kind) == kind:
            return name
        if (name, kind) not in self.cast:
            made = f"{name}/{_SUFFIX[kind]}"
            self.nodes.append(helper.make_node("Cast", [name], [made], made, to=kind))
            self.cast[name, kind] = made
        return self.cast[name, kind]


def convert(model: ModelProto, kept: Collection[str]) -> ModelProto:
    """A copy whose nodes compute in half precision, except `kept` ones; float32 at both ends.

    Args:
        model: float32, its nodes named and in order, with no graphs inside other than in `kept`.
        kept: names of the nodes that stay float32.
    """
    converted, kept = copy.deepcopy(model), {*kept, *always_float(model)}
    floats = graph.float_outputs(model)
    stored = {each.name: each for each in converted.graph.initializer}
    types = _Types({name: TensorProto.FLOAT for name in _float_ends(model)})
    types.of |= {name: TensorProto.FLOAT for name, each in stored.items() if each.data_type == 1}
    halved: dict[str, TensorProto] = {}
    outputs = {each.name for each in model.graph.output}
    for node in converted.graph.node:
        kind = TensorProto.FLOAT if node.name in kept else TensorProto.FLOAT16
        for position, name in enumerate(node.input):
            if kind == TensorProto.FLOAT16 and types.of.get(name) == kind:
                continue
            if name in stored and types.of.get(name) == 1 and kind == TensorProto.FLOAT16:
                halved.setdefault(name, _halved(stored[name]))
                node.input[position] = halved[name].name
            else:
                node.input[position] = types.wanted(name, kind)
        if kind == TensorProto.FLOAT16:
            _retype(node)
        types.nodes.append(node)
        for position, name in enumerate(node.output):
            if name not in floats:
                continue
            types.of[name] = kind
            if name in outputs and kind == TensorProto.FLOAT16:
                inner = f"{name}/half"
                node.output[position] = inner
                types.of[name] = TensorProto.FLOAT
                types.cast[name, TensorProto.FLOAT16] = inner
                types.nodes.append(
                    helper.make_node("Cast", [inner], [name], f"{name}/end", to=TensorProto.FLOAT)
                )
    del converted.graph.node[:]
    converted.graph.node.extend(types.nodes)
    _store(converted, halved.values())
    del converted.graph.value_info[:]  # of the types before
    return converted


def _float_ends(model: ModelProto) -> list[str]:
    return [
        each.name
        for each in model.graph.input
        if each.type.tensor_type.elem_type == TensorProto.FLOAT
    ]


def _halved(tensor: TensorProto) -> TensorProto:
    with np.errstate(over="ignore"):
        half = numpy_helper.to_array(tensor).astype(np.float16)
    return numpy_helper.from_array(half, f"{tensor.name}/half")


def _retype(node: NodeProto) -> None:
    """What a node itself says of types: constants it holds, and what it casts to."""
    for each in node.attribute:
        if each.HasField("t") and each.t.data_type == TensorProto.FLOAT:
            each.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each.t).astype("f2")))
        if node.op_type == "Cast" and each.name == "to" and each.i == TensorProto.FLOAT:
            each.i = TensorProto.FLOAT16


def _store(model: ModelProto, halved: Collection[TensorProto]) -> None:
    """Add the halved weights, and drop those that nobody reads any more."""
    read = {name for node in model.graph.node for name in node.input}
    stored = [each for each in model.graph.initializer if each.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*stored, *halved])
