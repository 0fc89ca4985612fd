"""Preprocessing in the graph: a file that takes uint8 pixels, not normalised floats."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from export import graph
from runtime.images.preprocess import Preprocess

PIXELS = "pixels"


def take_pixels(source: Path, path: Path, preprocess: Preprocess) -> None:
    """Write a file like `source` that takes uint8 [B, S, S, 3], RGB, and normalises inside.

    Cast, transposition, one multiplication and one addition: the steps of `Preprocess.normalise`
    with the same float32 constants. Resizing and cropping stay outside: the caller gives images of
    the right size.

    Args:
        source: takes float32 [B, 3, S, S] as `images`.
        path: the file to write.
        preprocess: the student's.
    """
    model = onnx.load(source)
    images = model.graph.input[0]
    batch, _, height, width = (
        side.dim_param or side.dim_value for side in images.type.tensor_type.shape.dim
    )
    constants = {"scale": preprocess.scale, "shift": preprocess.shift}
    for name, value in constants.items():
        tensor = numpy_helper.from_array(value.reshape(1, 3, 1, 1), f"{PIXELS}/{name}")
        model.graph.initializer.append(tensor)
    cast, planes, scaled = (f"{PIXELS}/{name}" for name in ("float", "planes", "scaled"))
    nodes = [
        helper.make_node("Cast", [PIXELS], [cast], cast, to=TensorProto.FLOAT),
        # [B, S, S, 3] -> [B, 3, S, S]
        helper.make_node("Transpose", [cast], [planes], planes, perm=[0, 3, 1, 2]),
        helper.make_node("Mul", [planes, f"{PIXELS}/scale"], [scaled], scaled),
        helper.make_node("Add", [scaled, f"{PIXELS}/shift"], [images.name], f"{PIXELS}/normalised"),
    ]
    network = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *network])
    sides = [batch, height, width, 3]
    taken = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, sides)
    model.graph.input[0].CopyFrom(taken)
    graph.save(model, path, {"input": "uint8 [B, S, S, 3], RGB, normalised inside"})
