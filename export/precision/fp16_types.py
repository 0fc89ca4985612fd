"""Conversion of a float32 graph to fp16: every tensor has one type, with casts where types meet.

onnxruntime.transformers.float16 was tried: with nodes kept in float32 it wrote casts twice under
one name, out of order, and sent float32 results through fp16 on their way to the output. ModelOpt's
autocast gives the same accuracy; see docs/decisions.md.
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
"""Operators that take some inputs in float32 only, or that are useless in fp16."""
_SUFFIX: dict[int, str] = {TensorProto.FLOAT16: "half", TensorProto.FLOAT: "float"}


def always_float(model: ModelProto) -> set[str]:
    """Return nodes that fp16 never suits: by their operator, or with graphs inside."""
    return {
        node.name
        for node in model.graph.node
        if node.op_type in _FLOAT_ONLY
        or any(attribute.HasField("g") for attribute in node.attribute)
    }


@dataclass
class _Types:
    """Types of the tensors so far, and the casts that were added."""

    of: dict[str, int]
    cast: dict[tuple[str, int], str] = field(default_factory=dict)
    nodes: list[NodeProto] = field(default_factory=list)

    def cast_to(self, name: str, kind: int) -> str:
        """Return the name of a float tensor in a type, with a cast if needed."""
        if self.of.get(name, kind) == kind:
            return name
        if (name, kind) not in self.cast:
            result = f"{name}/{_SUFFIX[kind]}"
            self.nodes.append(helper.make_node("Cast", [name], [result], result, to=kind))
            self.cast[name, kind] = result
        return self.cast[name, kind]


def convert(model: ModelProto, kept: Collection[str]) -> ModelProto:
    """Return a copy whose nodes compute in fp16, except `kept` ones; float32 at both ends.

    Args:
        model: float32, its nodes named and in order, with no graphs inside other than in `kept`.
        kept: names of the nodes that stay float32.
    """
    converted, kept = copy.deepcopy(model), {*kept, *always_float(model)}
    floats = graph.float_outputs(model)
    stored = {tensor.name: tensor for tensor in converted.graph.initializer}
    types = _Types({name: TensorProto.FLOAT for name in _float_ends(model)})
    types.of |= {
        name: TensorProto.FLOAT for name, tensor in stored.items() if tensor.data_type == 1
    }
    as_fp16: dict[str, TensorProto] = {}
    outputs = {value.name for value in model.graph.output}
    for node in converted.graph.node:
        kind = TensorProto.FLOAT if node.name in kept else TensorProto.FLOAT16
        for position, name in enumerate(node.input):
            if kind == TensorProto.FLOAT16 and types.of.get(name) == kind:
                continue
            if name in stored and types.of.get(name) == 1 and kind == TensorProto.FLOAT16:
                as_fp16.setdefault(name, _to_fp16(stored[name]))
                node.input[position] = as_fp16[name].name
            else:
                node.input[position] = types.cast_to(name, kind)
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
    _store(converted, as_fp16.values())
    del converted.graph.value_info[:]  # of the types before
    return converted


def _float_ends(model: ModelProto) -> list[str]:
    return [
        value.name
        for value in model.graph.input
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    ]


def _to_fp16(tensor: TensorProto) -> TensorProto:
    with np.errstate(over="ignore"):
        half = numpy_helper.to_array(tensor).astype(np.float16)
    return numpy_helper.from_array(half, f"{tensor.name}/half")


def _retype(node: NodeProto) -> None:
    """Change the types that a node itself names: its constants and the target of a cast."""
    for attribute in node.attribute:
        if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
            constant = numpy_helper.to_array(attribute.t).astype(np.float16)
            attribute.t.CopyFrom(numpy_helper.from_array(constant))
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _store(model: ModelProto, as_fp16: Collection[TensorProto]) -> None:
    """Add the fp16 weights and drop those that no node reads any more."""
    read = {name for node in model.graph.node for name in node.input}
    stored = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*stored, *as_fp16])
