"""Files are written in the lowest versions that carry them, and answer as before."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import graph, onnx_versions
from runtime.backends.registry import open_session


def opset_of(model):
    return {entry.domain: entry.version for entry in model.opset_import}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("family", ["mobilenetv3", "vit"])
def test_what_we_write_is_read_by_a_runtime_of_2023(precise, family, precision):
    """IR 8 and operator set 18: ONNX Runtime 1.14; exporters write IR 10, which 1.17 refuses."""
    model = onnx.load(precise(family, precision))
    assert model.ir_version <= 8
    assert opset_of(model).keys() == {""}
    assert opset_of(model)[""] <= 18
    onnx.checker.check_model(model, full_check=True)


def model_of(nodes, opset, ir=10, **tensors):
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    stored = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    drawn = helper.make_graph(nodes, "g", [takes], [gives], stored)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(drawn, opset_imports=imports, ir_version=ir)


def node(kind, *inputs, **attributes):
    return helper.make_node(kind, [*inputs], ["y"], kind, **attributes)


ONE = np.ones(4, np.float32)
CASES = [
    # an operator, the operator set it is written in, the one that defined it last, and its IR
    (node("Relu", "x"), 18, 14, 7),
    (node("Sqrt", "x"), 21, 13, 7),
    (node("Pow", "x", "w"), 20, 15, 8),
    (node("LayerNormalization", "x", "w"), 20, 17, 8),
    (node("Gelu", "x"), 20, 20, 9),
    (node("Mish", "x"), 19, 18, 8),
    (node("Identity", "x"), 13, 13, 7),
]


@pytest.mark.parametrize(("drawn", "written", "lowest", "ir"), CASES)
def test_an_operator_keeps_its_meaning_in_the_lowest_set_that_has_it(drawn, written, lowest, ir):
    model = model_of([drawn], written, w=ONE)
    x = np.random.default_rng(0).uniform(0.1, 2, (3, 4)).astype(np.float32)
    before = graph.session_of(model).run(["y"], {"x": x})[0]
    onnx_versions.lower(model)
    assert (opset_of(model), model.ir_version) == ({"": lowest}, ir)
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(graph.session_of(model).run(["y"], {"x": x})[0], before)


def test_nodes_inside_others_count_too():
    def branch(kind):
        gives = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(kind, ["x"], ["z"], kind)], kind, [], [gives])

    always = helper.make_node("If", ["yes"], ["y"], "if", then_branch=branch("Gelu"),
                              else_branch=branch("Relu"))  # fmt: skip
    model = model_of([always], 20, yes=np.array(True))
    onnx_versions.lower(model)
    assert opset_of(model) == {"": 20}


def test_a_domain_that_is_used_stays():
    fused = helper.make_node("FusedMatMul", ["x", "w"], ["y"], "f", domain="com.microsoft")
    model = model_of([fused], 18, w=np.ones((4, 4), np.float32))
    onnx_versions.lower(model)
    assert opset_of(model) == {"": 13, "com.microsoft": 1}


def test_a_file_that_is_low_already_stays_as_it_is():
    model = model_of([node("Relu", "x")], 11, ir=6)
    onnx_versions.lower(model)
    assert (opset_of(model), model.ir_version) == ({"": 11}, 6)


def test_the_answers_of_a_student_are_the_same_bits(students, images, tmp_path):
    model = onnx.load(students("vit"))
    model.ir_version = 10
    model.opset_import[0].version = 18
    onnx.save(model, tmp_path / "high.onnx")
    onnx_versions.lower(model)
    onnx.save(model, tmp_path / "low.onnx")
    high, low = (
        open_session(tmp_path / f"{name}.onnx", provider="cpu").run(images[:8])
        for name in ("high", "low")
    )
    assert np.array_equal(high.embedding, low.embedding)
