"""Queries on a student's ONNX graph, for FP16 and INT8."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from export import onnx_versions
from export.refusals import refused_by
from runtime.arrays import AnyArray, Floats
from runtime.backends.ort_library import PROVIDERS, import_onnxruntime, session_options
from runtime.files import replacing

MATRIX_OPERATORS = ("Conv", "MatMul", "Gemm")
"""The operators that take a network's time; INT8 quantises these."""
LEAST = {"fp32": 1.0, "fp16": 0.9, "int8": 0.5}
"""Smallest share of the weights (of matrix operators before the probe) in a file's precision:
overflowing operators and sensitive layers may stay float32."""
EMBEDDING = "embedding"
CHUNK = 8
"""Batch size when every tensor of a graph is observed."""


def head(model: ModelProto) -> tuple[str, ...]:
    """Return the nodes behind the embedding: the probe. They stay float32 in every file.

    A probe is a small product, and the logit -1e4 of a class without a label would take the whole
    range of a quantised tensor.
    """
    reached, names = {EMBEDDING}, []
    for node in model.graph.node:  # in topological order
        if reached & set(node.input):
            reached.update(node.output)
            names.append(node.name)
    return tuple(names)


def save(model: ModelProto, path: Path, facts: Mapping[str, object]) -> None:
    """Check a model and write it atomically, with extra metadata, in the lowest versions."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in facts.items():
        properties[key] = value if isinstance(value, str) else json.dumps(value)
    helper.set_model_props(model, properties)
    onnx_versions.lower(model)
    with refused_by("onnx's checker"):
        onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def source_of(name: str, producers: Mapping[str, NodeProto]) -> str:
    """Return the tensor behind a weight's casts, transpositions and dequantisation."""
    passed = ("Cast", "Transpose", "Identity", "DequantizeLinear")
    while name in producers and producers[name].op_type in passed:
        name = producers[name].input[0]
    return name


def producers(model: ModelProto) -> dict[str, NodeProto]:
    """Return the node that makes each tensor."""
    return {output: node for node in model.graph.node for output in node.output}


@dataclass(frozen=True)
class Weight:
    """The weight of a matrix operator."""

    node: str
    tensor: str
    type: int
    """As `onnx.TensorProto` numbers types."""
    elements: int
    dequantised: bool


def weights(model: ModelProto) -> list[Weight]:
    """Return the stored weights of the matrix operators before the head."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    made, behind = producers(model), set(head(model))
    in_file = []
    for node in model.graph.node:
        if node.op_type not in MATRIX_OPERATORS or node.name in behind:
            continue
        for name in node.input[:2]:
            tensor = stored.get(source_of(name, made))
            if tensor is not None:
                through = name in made and made[name].op_type == "DequantizeLinear"
                size = prod(tensor.dims)
                in_file.append(Weight(node.name, tensor.name, tensor.data_type, size, through))
    return in_file


def made_types(model: ModelProto) -> dict[str, int]:
    """Return the tensors that nodes make, with their types as `onnx.TensorProto` numbers them."""
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {
        value.name: value.type.tensor_type.elem_type
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    made = (name for node in model.graph.node for name in node.output)
    return {name: known[name] for name in made if name in known}


def float_outputs(model: ModelProto) -> dict[str, str]:
    """Return the float32 tensors that nodes make, with their nodes."""
    made = producers(model)
    types = made_types(model).items()
    return {name: made[name].name for name, kind in types if kind == TensorProto.FLOAT}


@dataclass(frozen=True)
class Observed:
    """Statistics of a float tensor on real images."""

    peak: float
    """Largest magnitude."""
    shape: tuple[int, ...]
    """Of one image, with its first side."""


def observe(model: ModelProto, images: Floats) -> dict[str, Observed]:
    """Return largest magnitude and shape of every float tensor, over images [N, 3, S, S]."""
    names = list(float_outputs(model))
    session = exposing(model, dict.fromkeys(names, TensorProto.FLOAT))
    peaks, shapes = dict.fromkeys(names, 0.0), dict[str, tuple[int, ...]]()
    for start in range(0, len(images), CHUNK):
        values = run(session, names, images[start : start + CHUNK])
        for name, value in zip(names, values, strict=True):
            peak = float(np.abs(value).max(initial=0.0))
            peaks[name] = max(peaks[name], peak) if np.isfinite(peak) else np.inf
    for name, value in zip(names, run(session, names, images[:1]), strict=True):
        shapes[name] = value.shape
    return {name: Observed(peaks[name], shapes[name]) for name in names}


def exposing(model: ModelProto, types: Mapping[str, int]) -> Any:
    """Open a copy of a model that can be asked for inner tensors too.

    Args:
        model: stays as it is.
        types: of these tensors, as `onnx.TensorProto` numbers them.

    Raises:
        FileNotMadeError: it cannot be opened.
    """
    opened = copy.deepcopy(model)
    present = {value.name for value in opened.graph.output}
    opened.graph.output.extend(
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in types.items()
        if name not in present
    )
    return session_of(opened)


def session_of(model: ModelProto) -> Any:
    """Open a model in memory with ONNX Runtime on the CPU.

    Raises:
        FileNotMadeError: it cannot be opened.
    """
    ort, options = import_onnxruntime(), session_options()
    with refused_by("ONNX Runtime"):
        content = model.SerializeToString()
        return ort.InferenceSession(content, options, providers=[PROVIDERS["cpu"]])


def run(session: Any, names: Sequence[str], images: AnyArray) -> list[Floats]:
    """Return some tensors of a student for images as it takes them.

    Raises:
        FileNotMadeError: it fails at work.
    """
    with refused_by("ONNX Runtime"):
        answered: list[Floats] = session.run([*names], {"images": images})
    return answered


def unchanged_session(path: str) -> Any:
    """Open a file with ONNX Runtime on the CPU as it stands, so that every tensor is computed."""
    ort, options = import_onnxruntime(), session_options()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=[PROVIDERS["cpu"]])


def fold(source: Path, path: Path) -> None:
    """Write a file with its constants folded, which is what every machine may simplify."""
    ort, options = import_onnxruntime(), session_options(threads=1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(str(source), options, providers=[PROVIDERS["cpu"]])


def embeddings(model: ModelProto, images: Floats) -> Floats:
    """Return a model's embeddings [N, D] of images [N, 3, S, S].

    Raises:
        FileNotMadeError: the model cannot be opened, or fails at work.
    """
    session = session_of(model)
    parts = [
        run(session, [EMBEDDING], images[start : start + 4 * CHUNK])[0]
        for start in range(0, len(images), 4 * CHUNK)
    ]
    return np.concatenate(parts)


def cosines(got: Floats, expected: Floats) -> Floats:
    """Return the cosine of each row with its reference; -1 if a row is not finite or zero."""
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
        cosine = (got * expected).sum(axis=1) / norms
    return np.where(np.isfinite(cosine), cosine, np.float32(-1)).astype(np.float32)


def multiplications(
    node: NodeProto, seen: Mapping[str, Observed], shapes: Mapping[str, tuple[int, ...]]
) -> int:
    """Return the multiply-adds of a matrix operator for one image.

    Args:
        node: its weight may be stored, or computed from others (as weight standardisation does).
        seen: the float tensors of the graph, observed.
        shapes: those of the stored tensors.
    """

    def shape(name: str) -> tuple[int, ...]:
        return seen[name].shape if name in seen else shapes[name]

    made, weight = shape(node.output[0]), shape(node.input[1])
    if node.op_type == "Conv":
        return prod(made[1:]) * prod(weight[1:])
    if node.op_type == "Gemm":
        return prod(made[1:]) * prod(weight) // max(1, made[-1])
    return prod(made[1:]) * weight[-2 if len(weight) > 1 else 0]
