"""INT8 files: chosen calibration, sensitive layers, and a probe that is left alone."""

import numpy as np
import onnx
import pytest

from export import graph, precision_proof
from export.precision import int8
from export.precision.calibration import METHODS, calibrate
from export.precision.int8 import Quantiser, Sensitivity, Step
from runtime.backends.registry import open_session


@pytest.fixture(scope="module")
def made(students, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "student.int8.onnx"
    choices = {"selected": images[:12], "random": images[12:24]}
    decision = int8.make(students("vit"), path, choices, images[24:48])
    return decision, path


def test_every_choice_by_every_method_is_tried_and_the_best_is_taken(made):
    decision, _ = made
    assert {(each.images, each.method) for each in decision.trials} == {
        (name, method) for name in ("selected", "random") for method in METHODS
    }
    best = min(decision.trials, key=lambda each: each.error)
    assert (decision.images, decision.method) == (best.images, best.method)
    assert decision.error <= best.error + 1e-4


def test_the_file_is_int8_symmetric_and_near_its_source(made, students, images):
    decision, path = made
    found = precision_proof.prove(path, "int8")
    assert found.weights["int8"] > 0.5
    assert 0 < found.integer_kernels <= 1
    got = open_session(path, provider="cpu").run(images)
    expected = open_session(students("vit"), provider="cpu").run(images)
    assert graph.cosines(got.embedding, expected.embedding).mean() > 0.98
    assert decision.result().calibration_method == decision.method


def test_the_probe_and_its_logits_are_not_quantised(made, images):
    """Else -1e4 would take the whole range, and the other logits would be one number."""
    _, path = made
    logits = open_session(path, provider="cpu").run(images).logits
    assert np.allclose(logits[:, 2], -1e4, atol=10)
    assert len(np.unique(logits[:, 0])) > 30
    model = onnx.load(path)
    producers = graph.producers(model)
    quantised = {
        node.name
        for node in model.graph.node
        for name in node.input
        if name in producers and producers[name].op_type == "DequantizeLinear"
    }
    assert not quantised & set(graph.head(model))


@pytest.fixture(scope="module")
def quantiser(students, images):
    return Quantiser.of(students("vit"), images[24:40])


def with_errors(monkeypatch, errors):
    """Let the error be what the number of layers in float makes it."""
    total = max(errors)
    monkeypatch.setattr(
        Quantiser, "quantised", lambda self, calibration, layers: total - len(layers)
    )
    monkeypatch.setattr(Quantiser, "error", lambda self, kept, most=None: errors[kept])


@pytest.mark.parametrize(
    ("errors", "kept"),
    [
        ({0: 1.0, 1: 0.2, 2: 0.19, 4: 0.18, 8: 0.0}, 1),  # the first layer is what hurts
        ({0: 1.0, 1: 0.9, 2: 0.85, 4: 0.8, 8: 0.6}, 0),  # no layer is worth its work
        ({0: 1.0, 1: 1.1, 2: 0.1, 4: 0.1, 8: 0.1}, 2),  # worse at first
        ({0: 0.0, 1: 0.0, 2: 0.0, 4: 0.0, 8: 0.0}, 0),  # nothing to gain
    ],
)
def test_layers_stay_float_while_they_are_worth_it(quantiser, monkeypatch, errors, kept):
    with_errors(monkeypatch, errors)
    found = [Sensitivity(f"layer{n}", 1 / (n + 1), 1 / 8, 1 / 8) for n in range(8)]
    layers, steps = int8.choose_float_layers(quantiser, None, found)
    assert layers == tuple(f"layer{n}" for n in range(kept))
    assert [each.layers for each in steps] == [0, 1, 2, 4]
    assert steps[0] == Step(0, errors[0], 0, 0)


def test_work_is_shared_out(quantiser):
    shares = int8._work(quantiser)
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == set(quantiser.layers)
    # Of a 16-token, 48-wide block: qkv has three times the work of the projection behind it.
    model = {node.name: node for node in quantiser.model.graph.node}
    by_shape = {
        tuple(each.dims): each.name
        for each in quantiser.model.graph.initializer
        if len(each.dims) == 2
    }
    qkv, projection = (
        next(n for n in quantiser.layers if by_shape.get(shape) in model[n].input)
        for shape in ((48, 144), (48, 48))
    )
    assert shares[qkv] == pytest.approx(3 * shares[projection])


def test_it_says_nothing_on_stdout(students, images, capfd):
    quantiser = Quantiser.of(students("mobilenetv3"), images[:4])
    for method in METHODS:
        calibrate(quantiser.model, images[:8], name="random", method=method)
    assert capfd.readouterr().out == ""
