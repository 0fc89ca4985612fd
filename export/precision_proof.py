"""Verify the precision of a finished ONNX file by reading its types."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from export import graph
from runtime.backends.ort_library import PROVIDERS, import_onnxruntime, session_options
from runtime.errors import FileNotMadeError
from runtime.results.making import PrecisionProof

Precision = Literal["fp32", "fp16", "int8"]

_TYPE = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
_AGAIN = "  `compressor export RUN` makes the file again."


def prove(path: Path, precision: Precision) -> PrecisionProof:
    """Return the weight types of an ONNX file, if they match its precision.

    Returns:
        `weights`: share of the weights by type; for INT8 also `integer_kernels`: share of the
        quantised operators that ONNX Runtime runs in integers on a CPU.

    Raises:
        FileNotMadeError: a type at the ends, of the weights, or the placement of Q/DQ is not right.
    """
    model = onnx.load(path)
    _prove_ends(path, model)
    counted = Counter[str]()
    for weight in graph.weights(model):
        counted[_name(weight.type)] += weight.elements
    total = sum(counted.values())
    shares = {name: round(count / total, 4) for name, count in counted.most_common()}
    wanted, least = _TYPE[precision], graph.LEAST[precision]
    if shares.get(wanted, 0.0) < least:
        inside = ", ".join(f"{name} {share:.0%}" for name, share in shares.items()) or "none"
        raise FileNotMadeError(
            f"{path}: its name says {precision}, so at least {least:.0%} of its weights must be "
            f"{wanted}; inside are: {inside}.\n{_AGAIN}"
        )
    if precision != "int8":
        return PrecisionProof(shares)
    _prove_placement(path, model)
    return PrecisionProof(shares, integer_kernels(path))


def _prove_ends(path: Path, model: ModelProto) -> None:
    inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    outputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    wrong = [
        f"{name} is {_name(kind)}"
        for names, allowed in (
            (inputs, (TensorProto.FLOAT, TensorProto.UINT8)),
            (outputs, (TensorProto.FLOAT,)),
        )
        for name, kind in names.items()
        if kind not in allowed
    ]
    if wrong:
        raise FileNotMadeError(
            f"{path}: takes float32 or uint8 and answers in float32, but {'; '.join(wrong)}.\n"
            f"{_AGAIN}"
        )


def _prove_placement(path: Path, model: ModelProto) -> None:
    """Prove that Q/DQ nodes are symmetric, in pairs, without int32, and that none is unused.

    A layer that the file itself says to be in float may read a tensor that its neighbours have
    quantised: it computes in float all the same.
    """
    made, problems = graph.producers(model), list[str]()
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    behind, in_float = set(graph.head(model)), _said_to_be_float(model)
    for node in model.graph.node:
        if node.op_type in graph.MATRIX_OPERATORS:
            through = [_dequantises(made.get(name)) for name in node.input[:2]]
            if any(through) and node.name in behind:
                problems.append(f"{node.name}: the probe is quantised")
            elif any(through) != all(through) and node.name not in in_float:
                problems.append(f"{node.name}: only one of its two factors is quantised")
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            problems += _of_pair(node, stored)
    if problems:
        shown = "\n  ".join(problems[:5])
        raise FileNotMadeError(
            f"{path}: Q/DQ is not where ONNX Runtime and TensorRT fuse it\n  {shown}\n{_AGAIN}"
        )


def _said_to_be_float(model: ModelProto) -> frozenset[str]:
    """Return the layers that stayed float by the decision that `int8.make` wrote into the file."""
    written = {entry.key: entry.value for entry in model.metadata_props}
    decision = json.loads(written.get("int8", "{}"))
    return frozenset(decision.get("layers_kept_float", ()))


def _of_pair(node: NodeProto, stored: Mapping[str, TensorProto]) -> list[str]:
    problems = []
    if node.op_type == "DequantizeLinear" and node.input[0] in stored:
        kind = stored[node.input[0]].data_type
        if kind != TensorProto.INT8:
            problems.append(f"{node.name}: dequantises {_name(kind)}; TensorRT takes int8 only")
    if len(node.input) > 2 and node.input[2] in stored:
        zero = stored[node.input[2]]
        if zero.data_type != TensorProto.INT8 or np.any(numpy_helper.to_array(zero)):
            problems.append(f"{node.name}: not symmetric int8; TensorRT refuses it")
    return problems


def _dequantises(node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "DequantizeLinear"


def integer_kernels(path: Path) -> float:
    """Share of the quantised operators that ONNX Runtime fuses into integer kernels on a CPU."""
    ort = import_onnxruntime()
    quantised = sum(
        _dequantises(graph.producers(model).get(node.input[0]))
        for model in (onnx.load(path),)
        for node in model.graph.node
        if node.op_type in graph.MATRIX_OPERATORS
    )
    with TemporaryDirectory() as folder:
        options = session_options(threads=1)
        options.optimized_model_filepath = str(Path(folder) / "fused.onnx")
        ort.InferenceSession(str(path), options, providers=[PROVIDERS["cpu"]])
        fused = onnx.load(options.optimized_model_filepath)
    integer = {"QLinearConv", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat", "ConvInteger"}
    count = sum(node.op_type in integer for node in fused.graph.node)
    return round(min(1.0, count / quantised), 4) if quantised else 0.0


def _name(kind: int) -> str:
    name: str = TensorProto.DataType.Name(kind).lower()
    return {"float": "float32"}.get(name, name)
