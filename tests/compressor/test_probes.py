import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from compressor import probes
from runtime.fidelity import normalise


def blobs(classes, *, per_class=30, dim=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dim)) * 3
    labels = np.repeat(np.arange(classes), per_class)
    return (centres[labels] + rng.normal(size=(len(labels), dim))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_answers_what_scikit_learn_answers(classes):
    x, labels = blobs(classes)
    probe = probes.fit(x, labels, classes)
    unit = normalise(x)
    scaled = (unit - unit.mean(axis=0)) / (unit.std(axis=0) + 1e-6)
    strength = probes._choose_strength(scaled, labels, 0)
    reference = LogisticRegression(C=strength, solver="newton-cg", max_iter=100).fit(scaled, labels)
    answers = probe.logits(x).argmax(axis=1)
    assert (answers == reference.predict(scaled)).all()
    shares = np.exp(probe.logits(x))
    shares /= shares.sum(axis=1, keepdims=True)
    assert np.abs(shares - reference.predict_proba(scaled)).max() < 1e-4


def test_it_is_blind_to_the_length_of_an_embedding():
    x, labels = blobs(3)
    probe = probes.fit(x, labels, 3)
    assert np.allclose(probe.logits(7 * x), probe.logits(x), atol=1e-4)


def test_a_class_without_labels_is_never_answered():
    x, labels = blobs(3)
    seen = labels != 1
    probe = probes.fit(x[seen], labels[seen], 3)
    assert probe.weight.shape == (3, 8)
    assert set(probe.logits(x).argmax(axis=1)) == {0, 2}


def test_one_class_makes_no_probe():
    x, _ = blobs(1)
    assert probes.fit(x, np.zeros(len(x), np.int64), 4) is None


def test_a_single_label_per_class_is_enough():
    x, labels = blobs(4, per_class=1)
    probe = probes.fit(x, labels, 4)
    assert (probe.logits(x).argmax(axis=1) == labels).all()


def test_the_strength_is_chosen_by_cross_validation():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    noise = rng.normal(size=(80, 30))
    noise[:, :5] += labels[:, None]  # weak features among noise: strong regularisation wins
    assert probes._choose_strength(noise, labels, 0) < 1
    clear, of_class = blobs(2)
    assert probes._choose_strength(clear, of_class, 0) in probes.STRENGTHS
