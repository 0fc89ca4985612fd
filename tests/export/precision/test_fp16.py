"""FP16 files of real students, and what keeps an operator in float32."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import graph, precision_proof
from export.precision import fp16
from runtime.backends.registry import open_session


@pytest.mark.parametrize("family", ["mobilenetv3", "vit"])
def test_half_the_size_float32_at_both_ends_and_nearly_the_same_answers(
    students, precise, images, family
):
    source, path = students(family), precise(family, "fp16")
    model = onnx.load(path)
    ends = [*model.graph.input, *model.graph.output]
    assert {each.type.tensor_type.elem_type for each in ends} == {TensorProto.FLOAT}
    assert path.stat().st_size < 0.62 * source.stat().st_size
    got = open_session(path, provider="cpu").run(images)
    expected = open_session(source, provider="cpu").run(images)
    assert graph.cosines(got.embedding, expected.embedding).min() > 0.9999
    assert np.allclose(got.logits[:, :2], expected.logits[:, :2], atol=0.01)
    assert len(np.unique(got.logits[:, 0])) == 64  # not rounded to fp16 on the way out
    properties = {each.key: each.value for each in model.metadata_props}
    assert (properties["note"], properties["precision"]) == ("kept", "fp16")
    assert json.loads(properties["fp16"])["parity_wanted"] == fp16.PARITY


def test_the_probe_stays_float32(precise):
    model = onnx.load(precise("mobilenetv3", "fp16"))
    stored = {each.name: each for each in model.graph.initializer}
    bias = next(
        value
        for value in map(numpy_helper.to_array, stored.values())
        if value.shape == (3,) and value.min() < -9e3
    )
    assert bias.dtype == np.float32


def branch(peak):
    """embedding = mean of (images * peak) / peak: what is between overflows for a large peak."""
    constants = {"peak": peak, "inverse": 1 / peak, "weight": np.ones((4, 3, 1, 1))}
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["c"], "conv"),
        helper.make_node("Mul", ["c", "peak"], ["large"], "grow"),
        helper.make_node("Mul", ["large", "inverse"], ["small"], "shrink"),
        helper.make_node("Relu", ["small"], ["r"], "relu"),
        helper.make_node("ReduceMean", ["r", "axes"], ["embedding"], "mean", keepdims=0),
    ]
    tensors = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    takes = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])
    gives = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 4])
    drawn = helper.make_graph(nodes, "g", [takes], [gives], tensors)
    return helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_what_overflows_on_the_images_stays_float32(images):
    assert fp16.find_float32_parts(branch(10), images, images, parity=0.9999).overflowing == ()
    found = fp16.find_float32_parts(branch(1e5), images, images, parity=0.9999)
    assert found.overflowing == ("grow", "shrink")
    assert found.parity_cosine_min > 0.9999
    # Where nothing is kept, fp16 gives infinities, and the parity shows it.
    spoilt = graph.embeddings(fp16.rounded(branch(1e5), []), images)
    assert graph.cosines(spoilt, graph.embeddings(branch(1e5), images)).min() == -1


def test_what_overflows_does_so_in_no_file(images, tmp_path):
    onnx.save(branch(1e5), tmp_path / "source.onnx")
    fp16.make(tmp_path / "source.onnx", tmp_path / "fp16.onnx", images, images)
    got = open_session(tmp_path / "fp16.onnx", provider="cpu").run(images).embedding
    assert graph.cosines(got, graph.embeddings(branch(1e5), images)).min() > 0.9999
    kinds = {
        each.name: each.data_type for each in onnx.load(tmp_path / "fp16.onnx").graph.initializer
    }
    assert kinds["weight/half"] == TensorProto.FLOAT16
    assert kinds["peak"] == TensorProto.FLOAT


def test_operators_are_kept_by_what_they_cost_and_only_when_parity_asks(images, students):
    model = onnx.load(students("vit"))
    relaxed = fp16.find_float32_parts(model, images[:8], images[8:24], parity=0.99)
    assert (relaxed.operators, relaxed.tried) == ((), ())
    strict = fp16.find_float32_parts(model, images[:8], images[8:24], parity=1 - 1e-9)
    assert strict.operators
    assert strict.parity_cosine_min > relaxed.parity_cosine_min
    first = dict(reversed(strict.tried))[strict.operators[0]]
    assert first == max(parity for _, parity in strict.tried[: len({n for n, _ in strict.tried})])


def test_a_file_with_kept_operators_loads_and_is_fp16(images, students, tmp_path):
    path = tmp_path / "strict.onnx"
    parts = fp16.make(students("vit"), path, images[:8], images[8:24], parity=1 - 1e-9)
    assert parts.operators
    assert precision_proof.prove(path, "fp16").weights["float16"] > 0.9
    got = open_session(path, provider="cpu").run(images[:4])
    assert np.isfinite(got.embedding).all()


def layer_norm(outlier, width=32):
    """A LayerNorm of single operators, over channels of which one is an outlier, as ViTs have it.

    The square of the outlier is beyond fp16 although the outlier is not: elsewhere such a file fell
    from 85 % accuracy to 19 %.
    """
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(width, 3, 4, 4)) / 7
    weight[5] *= outlier
    constants = {
        "weight": weight,
        "two": 2.0,
        "eps": 1e-6,
        "gamma": rng.uniform(0.5, 1.5, (width, 1, 1)),
        "beta": rng.normal(size=(width, 1, 1)),
        "last": rng.normal(size=(width, width, 1, 1)) / np.sqrt(width),
    }
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["x"], "patches", strides=[4, 4]),
        helper.make_node("ReduceMean", ["x", "channels"], ["mean"], "mean"),
        helper.make_node("Sub", ["x", "mean"], ["centred"], "sub"),
        helper.make_node("Pow", ["centred", "two"], ["square"], "pow"),
        helper.make_node("ReduceMean", ["square", "channels"], ["variance"], "variance"),
        helper.make_node("Add", ["variance", "eps"], ["above"], "add_eps"),
        helper.make_node("Sqrt", ["above"], ["spread"], "sqrt"),
        helper.make_node("Div", ["centred", "spread"], ["normal"], "div"),
        helper.make_node("Mul", ["normal", "gamma"], ["scaled"], "scale"),
        helper.make_node("Add", ["scaled", "beta"], ["shifted"], "shift"),
        helper.make_node("Conv", ["shifted", "last"], ["c"], "mix"),
        helper.make_node("ReduceMean", ["c", "axes"], ["embedding"], "pool", keepdims=0),
    ]
    tensors = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    tensors.append(numpy_helper.from_array(np.array([1], np.int64), "channels"))
    takes = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])
    gives = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width])
    drawn = helper.make_graph(nodes, "g", [takes], [gives], tensors)
    return helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("outlier", [1, 100, 1000, 5000])
def test_a_layer_norm_of_single_operators_survives_an_outlier(images, tmp_path, outlier):
    model = layer_norm(outlier)
    onnx.save(model, tmp_path / "source.onnx")
    parts = fp16.make(tmp_path / "source.onnx", tmp_path / "x.onnx", images[:16], images[32:])
    expected = graph.embeddings(model, images)
    got = graph.embeddings(fp16.rounded(model, fp16.float32_nodes(model, parts)), images)
    assert graph.cosines(got, expected).min() > 0.9999
    peak = graph.observe(model, images[:16])["square"].peak
    assert ("pow" in parts.overflowing) is (peak * fp16.HEADROOM > fp16.LARGEST)
    if peak > fp16.LARGEST:  # all in fp16, it is another network
        spoilt = graph.embeddings(fp16.rounded(model, []), images)
        assert graph.cosines(spoilt, expected).min() < 0.99
    assert precision_proof.prove(tmp_path / "x.onnx", "fp16").weights["float16"] >= 0.9
