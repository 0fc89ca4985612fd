from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from compressor.probes import linear
from runtime.metrics import NEVER


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_answers_what_scikit_learn_answers(blobs, classes):
    training, labels = blobs(classes)
    probe = linear.fit(training, 0.1)
    mean, std = training.standardisation()
    scaled = (training.unit - mean) / std
    reference = LogisticRegression(C=0.1, solver="newton-cg", max_iter=100).fit(scaled, labels)
    logits = probe.logits(training.unit)
    assert (logits.argmax(axis=1) == reference.predict(scaled)).all()
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    assert np.abs(shares - reference.predict_proba(scaled)).max() < 1e-4


def test_it_is_blind_to_the_length_of_an_embedding(blobs):
    training, _ = blobs(3)
    probe = linear.fit(training, 1.0)
    assert np.allclose(probe.logits(7 * training.unit), probe.logits(training.unit), atol=1e-4)


def test_a_class_without_labels_is_never_answered(blobs):
    training, labels = blobs(3)
    probe = linear.fit(replace(training, labels=np.where(labels == 1, -1, labels)), 1.0)
    assert probe.weight.shape == (3, 8)
    logits = probe.logits(training.unit)
    assert set(logits.argmax(axis=1)) == {0, 2}
    assert (logits[:, 1] == NEVER).all()


def test_a_single_label_per_class_is_enough(blobs):
    training, labels = blobs(4, labels_per_class=1)
    rows = training.labelled
    assert len(rows) == 4
    answers = linear.fit(training, 1.0).logits(training.unit[rows]).argmax(axis=1)
    assert (answers == labels[rows]).all()


def test_an_image_of_no_weight_is_as_good_as_none(blobs):
    training, labels = blobs(3)
    wrong = labels.copy()
    wrong[:10] = 2
    rows, weights = np.arange(len(labels)), np.ones(len(labels))
    weights[:10] = 0
    with_them = linear.fit_weighted(training, rows, wrong, weights, 1.0)
    without = linear.fit_weighted(training, rows[10:], labels[10:], None, 1.0)
    assert np.allclose(with_them.weight, without.weight, atol=1e-2)
