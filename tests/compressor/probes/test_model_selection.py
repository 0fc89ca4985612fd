from dataclasses import replace

import numpy as np
import pytest

from compressor.probes import fit, model_selection
from compressor.probes.kinds import KINDS, candidates
from runtime.metrics import calibration_error, normalise


def kinds(training):
    return {candidate.kind for candidate in candidates(training)}


def test_what_the_labels_allow(blobs):
    few, _ = blobs(3, labels_per_class=5)
    assert kinds(few) == set(KINDS)
    every, _ = blobs(3)
    assert kinds(every) == set(KINDS) - {"propagation"}


def test_the_best_on_images_it_did_not_see_is_taken(blobs):
    """Classes that a line parts but that no mean tells apart: the linear probe's own case."""
    rng = np.random.default_rng(0)
    truth = np.arange(400) % 2
    x = rng.normal(size=(400, 6))
    x[:, 0] = 12 * rng.normal(size=400)
    x[:, 1] = 0.12 * x[:, 0] + 0.6 * np.where(truth == 1, 1, -1) + 0.05 * rng.normal(size=400)
    training, _ = blobs(2, per_class=200)
    training = replace(training, unit=normalise(x), guide=x, labels=truth)
    chosen = model_selection.choose(training)
    by_kind = {row.kind: row for row in chosen.result().candidates}
    assert chosen.candidate.kind == "linear"
    assert by_kind["linear"].accuracy.value > by_kind["prototypes"].accuracy.value
    for row in by_kind.values():
        assert row.accuracy.low <= row.accuracy.value <= row.accuracy.high


def test_probabilities_hold_on_images_that_nobody_saw(blobs):
    everything, truth = blobs(4, per_class=300, spread=3.5)
    labels = np.where(np.arange(1200) % 300 < 40, truth, -1)
    seen = np.arange(1200) % 300 < 150
    training = replace(
        everything, unit=everything.unit[seen], guide=everything.guide[seen], labels=labels[seen]
    )
    chosen = model_selection.choose(training)
    assert chosen.calibrated
    logits = chosen.probe.logits(everything.unit[~seen])
    assert calibration_error(logits, truth[~seen]).value < 0.1
    raw = calibration_error(logits * chosen.temperature, truth[~seen]).value
    assert calibration_error(logits, truth[~seen]).value < raw + 0.02


def test_one_label_per_class_is_too_few_to_choose(blobs):
    training, truth = blobs(3, labels_per_class=1)
    chosen = model_selection.choose(training)
    assert chosen.candidate.kind == "propagation"
    assert not chosen.calibrated
    assert chosen.why.startswith("too few labels to choose")
    assert chosen.result().candidates == ()
    assert (chosen.probe.logits(training.unit).argmax(axis=1) == truth).mean() > 0.9


def test_one_class_makes_no_probe(blobs):
    training, _ = blobs(3)
    for label in (0, -1):
        with pytest.raises(ValueError, match="labels of two classes are needed; got"):
            model_selection.choose(replace(training, labels=np.full(90, label)))


def test_the_same_labels_choose_the_same_probe(blobs):
    training, _ = blobs(3, labels_per_class=6)
    first, second = model_selection.choose(training), model_selection.choose(training)
    assert first.result() == second.result()
    assert np.array_equal(first.probe.logits(training.unit), second.probe.logits(training.unit))


NAMES = ("ash", "beech", "oak", "yew")


def fit_all(blobs, **options):
    training, truth = blobs(4, **options)
    labels = np.where(truth == 3, -1, training.labels)
    embedded = {name: training.guide for name in ("teacher", "student", "untrained")}
    said = []
    return *fit.fit_all(embedded, labels, NAMES, said.append), training, said


@pytest.mark.parametrize("labels_per_class", [1, 4, 30])
def test_every_encoder_gets_its_probes_and_the_report_its_words(blobs, labels_per_class):
    arrays, document, training, said = fit_all(blobs, labels_per_class=labels_per_class)
    assert document.classes_without_label == ("yew",)
    assert document.labelled == 3 * labels_per_class
    for encoder in ("teacher", "student", "untrained"):
        linear = fit.linear_probe(arrays, encoder).logits(training.guide)
        deployed = fit.deployed_probe(arrays, encoder).logits(training.guide)
        assert linear.shape == deployed.shape == (120, 4)
        assert set(deployed.argmax(axis=1)) == {0, 1, 2}
        other = fit.other_than_linear(arrays, encoder)
        assert (other is None) == (document.kind == "linear")
        if other is None:
            assert np.array_equal(linear, deployed)
    assert any(document.kind in line for line in said)


def test_no_label_is_no_probe(blobs):
    arrays, document, _, _ = fit_all(blobs, labels_per_class=0)
    assert arrays == {}
    assert document.kind is None
    assert document.classes_without_label == NAMES
    assert fit.deployed_probe(arrays, "student") is None
