"""However sensitive the layers are, half of the weights are INT8, and the file is what it says."""

import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export import graph, precision_proof
from export.precision import int8
from export.precision.calibration import calibrate
from export.precision.int8 import MOST_FLOAT, Quantiser, Sensitivity
from runtime.backends.registry import open_session
from runtime.errors import FileNotMadeError

SIDE = 32
rng = np.random.default_rng(0)


def model_of(nodes, weights):
    """A graph from images [B, 3, 32, 32] to `embedding`."""
    tensors = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    takes = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    gives = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", None])
    drawn = helper.make_graph(nodes, "g", [takes], [gives], tensors)
    return helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def chain(widths):
    """1x1 convolutions one after another, with a ReLU behind each, and the mean over the map."""
    nodes, weights, before = [], {}, "images"
    for n, (inputs, outputs) in enumerate(itertools.pairwise([3, *widths])):
        weights[f"w{n}"] = rng.normal(size=(outputs, inputs, 1, 1)) / np.sqrt(inputs)
        nodes.append(helper.make_node("Conv", [before, f"w{n}"], [f"c{n}"], f"conv{n}"))
        nodes.append(helper.make_node("Relu", [f"c{n}"], [f"r{n}"], f"relu{n}"))
        before = f"r{n}"
    nodes.append(helper.make_node("ReduceMean", [before, "axes"], ["embedding"], "m", keepdims=0))
    return model_of(nodes, weights)


def made(model, images, tmp_path, name="x"):
    source, path = tmp_path / f"{name}.fp32.onnx", tmp_path / f"{name}.int8.onnx"
    onnx.save(model, source)
    decision = int8.make(source, path, {"selected": images[:16]}, images[32:48])
    return decision, path


def share_in_float(path):
    found = graph.weights(onnx.load(path))
    floats = sum(each.elements for each in found if each.type == TensorProto.FLOAT)
    return floats / sum(each.elements for each in found)


@pytest.mark.parametrize("widths", [(4, 64), (64, 4), (8, 8, 96), (96,), (16, 16, 16)])
def test_a_small_network_whose_every_layer_is_worth_float_is_int8_all_the_same(
    widths, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(int8, "WORTH", -100.0)  # every step in float is kept, if it may
    monkeypatch.setattr(int8, "_NOISE", -100.0)
    decision, path = made(chain(widths), images, tmp_path)
    assert precision_proof.prove(path, "int8").weights["int8"] >= 0.5
    assert share_in_float(path) <= MOST_FLOAT
    # As many as fit: no layer that is left would still fit beside them, beyond the doubling.
    assert decision.steps[-1].weights <= MOST_FLOAT
    if len(widths) == 1:
        assert decision.float_layers == ()


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**6)), min_size=1, max_size=24
    )
)
@settings(max_examples=200, deadline=None)
def test_what_stays_float_is_never_more_than_half_of_the_weights(rows):
    total = sum(weights for _, _, weights in rows)
    layers = [
        Sensitivity(f"layer{n}", error, work, weights / total)
        for n, (error, work, weights) in enumerate(rows)
    ]

    class Flattering(Quantiser):
        """Every layer in float removes error."""

        def quantised(self, calibration, layers):
            return len(layers)

        def error(self, model, most=None):
            return float(2**model)

    chosen, steps = int8.choose_float_layers(Flattering(None, None, None), None, layers)
    shares = {layer.layer: layer.weights for layer in layers}
    assert sum(shares[name] for name in chosen) <= MOST_FLOAT + 1e-9
    assert len(set(chosen)) == len(chosen)
    assert all(step.weights <= MOST_FLOAT + 1e-4 for step in steps)


@pytest.mark.parametrize("in_float", [("conv0",), ("conv1",), ("conv2",), ("conv0", "conv2")])
def test_a_float_layer_between_quantised_ones_is_what_the_file_says(images, tmp_path, in_float):
    """The expand convolution behind a linear bottleneck: its input is dequantised, it is float."""
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["c0"], "conv0"),  # a projection: no ReLU
        helper.make_node("Conv", ["c0", "w1"], ["c1"], "conv1"),
        helper.make_node("Conv", ["c1", "w2"], ["c2"], "conv2"),
        helper.make_node("ReduceMean", ["c2", "axes"], ["embedding"], "mean", keepdims=0),
    ]
    weights = {f"w{n}": rng.normal(size=(64, 3 if n == 0 else 64, 1, 1)) for n in range(3)}
    onnx.save(model_of(nodes, weights), tmp_path / "source.onnx")
    quantiser = Quantiser.of(tmp_path / "source.onnx", images[:8])
    calibration = calibrate(quantiser.model, images[:8], name="random", method="minmax")
    layers = [layer for layer in quantiser.layers if layer not in in_float]
    model, path = quantiser.quantised(calibration, layers), tmp_path / "x.int8.onnx"
    graph.save(model, path, {"int8": {"layers_kept_float": list(in_float)}})
    if share_in_float(path) <= MOST_FLOAT:
        assert precision_proof.prove(path, "int8").weights["int8"] >= 0.5
    if in_float != ("conv0",):  # which reads the images themselves
        graph.save(model, path, {"int8": {"layers_kept_float": []}})
        with pytest.raises(FileNotMadeError, match=r"only one of its two factors|must be int8"):
            precision_proof.prove(path, "int8")


def residual(scales, width=16):
    """Blocks x + f(x) whose branches are of very different sizes, as in deep residual networks."""
    weights = {"stem": rng.normal(size=(width, 3, 3, 3)) / 5}
    nodes = [helper.make_node("Conv", ["images", "stem"], ["x0"], "stem", pads=[1, 1, 1, 1])]
    for n, scale in enumerate(scales):
        weights[f"a{n}"] = rng.normal(size=(width, width, 3, 3)) / np.sqrt(9 * width)
        weights[f"b{n}"] = scale * rng.normal(size=(width, width, 1, 1)) / np.sqrt(width)
        nodes += [
            helper.make_node("Conv", [f"x{n}", f"a{n}"], [f"h{n}"], f"a{n}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"h{n}"], [f"r{n}"], f"relu{n}"),
            helper.make_node("Conv", [f"r{n}", f"b{n}"], [f"f{n}"], f"b{n}"),
            helper.make_node("Add", [f"x{n}", f"f{n}"], [f"x{n + 1}"], f"add{n}"),
        ]
    last = f"x{len(scales)}"
    nodes.append(helper.make_node("ReduceMean", [last, "axes"], ["embedding"], "m", keepdims=0))
    return model_of(nodes, weights)


@pytest.mark.parametrize("scales", [(1, 1, 1, 1), (0.02, 0.02, 30, 0.02), (30, 30, 0.01, 0.01)])
def test_residual_adds_are_not_rounded(scales, images, tmp_path):
    """Elsewhere an Add whose two sides share one scale left 0 to 5 % of the accuracy."""
    model = residual(scales)
    _, path = made(model, images, tmp_path)
    got = open_session(path, provider="cpu").run(images).embedding
    expected = graph.embeddings(model, images)
    assert graph.cosines(got, expected).min() > 0.999


def test_nothing_to_quantise_is_said(images, tmp_path):
    nodes = [helper.make_node("ReduceMean", ["images", "axes"], ["embedding"], "m", keepdims=0)]
    with pytest.raises(FileNotMadeError, match="no convolution and no matrix product"):
        made(model_of(nodes, {}), images, tmp_path)


def test_what_the_quantiser_cannot_take_is_said_as_one_file(images, tmp_path, monkeypatch):
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    def refuse(self):
        raise KeyError("a tensor that nobody has calibrated")

    monkeypatch.setattr(QDQQuantizer, "quantize_model", refuse)
    with pytest.raises(FileNotMadeError, match=r"quantiser refused: KeyError: .*nobody"):
        made(chain((4, 8)), images, tmp_path)
