"""Planted frauds: a file that is not inside what it is said to be."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from export import graph, precision_proof
from runtime.errors import InputError


@pytest.mark.parametrize("family", ["mobilenetv3", "vit"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_honest_files(precise, family, precision):
    found = precision_proof.prove(precise(family, precision), precision)
    kind = {"fp32": "float32", "fp16": "float16", "int8": "int8"}[precision]
    assert found.weights[kind] > 0.9


@pytest.mark.parametrize(
    ("inside", "said"),
    [("fp32", "fp16"), ("fp32", "int8"), ("fp16", "fp32"), ("fp16", "int8"), ("int8", "fp16")],
)
def test_another_precision_inside_is_refused(precise, inside, said):
    with pytest.raises(InputError, match=f"its name says {said}, so at least") as caught:
        precision_proof.prove(precise("mobilenetv3", inside), said)
    assert "`compressor export RUN` makes the file again." in str(caught.value)


def changed(path, tmp_path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    return tmp_path / "changed.onnx"


def first(model, operator):
    return next(node for node in model.graph.node if node.op_type == operator)


def bypass_an_activation(model):
    """A convolution that reads its activation from before the quantisation."""
    made = graph.producers(model)
    conv = [node for node in model.graph.node if node.op_type == "Conv"][3]
    conv.input[0] = made[made[conv.input[0]].input[0]].input[0]


def shift_a_zero_point(model):
    pair = first(model, "QuantizeLinear")
    stored = next(each for each in model.graph.initializer if each.name == pair.input[2])
    value = numpy_helper.to_array(stored) + np.int8(3)
    stored.CopyFrom(numpy_helper.from_array(value, stored.name))


def quantise_a_bias(model):
    bias = numpy_helper.from_array(np.array([1, 2], np.int32), "int32_bias")
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "int32_scale")
    model.graph.initializer.extend([bias, scale])
    names = ["int32_bias", "int32_scale"]
    node = onnx.helper.make_node("DequantizeLinear", names, ["unused"], "bias_dq")
    model.graph.node.append(node)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (bypass_an_activation, "only one of its two factors is quantised"),
        (shift_a_zero_point, "not symmetric int8; TensorRT refuses it"),
        (quantise_a_bias, "bias_dq: dequantises int32; TensorRT takes int8 only"),
    ],
)
def test_qdq_in_the_wrong_place_is_refused(precise, tmp_path, change, said):
    path = changed(precise("mobilenetv3", "int8"), tmp_path, change)
    with pytest.raises(
        InputError, match="Q/DQ is not where ONNX Runtime and TensorRT fuse it"
    ) as e:
        precision_proof.prove(path, "int8")
    assert said in str(e.value)


def test_half_precision_at_an_end_is_refused(precise, tmp_path):
    def halve(model):
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16

    path = changed(precise("mobilenetv3", "fp16"), tmp_path, halve)
    with pytest.raises(InputError, match="but embedding is float16"):
        precision_proof.prove(path, "fp16")
