from dataclasses import replace

import numpy as np
import pytest

from compressor.probes import label_propagation, linear
from compressor.probes.training_set import TrainingSet
from runtime.metrics import NEVER, normalise


def moons(seed=0, per_arc=100):
    """Two arcs side by side on the sphere: what is near by the way is far as the crow flies."""
    rng = np.random.default_rng(seed)
    along = np.tile(np.linspace(0, 2.2, per_arc), 2)
    across = np.repeat([0.0, 0.5], per_arc) + rng.normal(size=2 * per_arc) * 0.01
    x = np.stack(
        [np.cos(along) * np.cos(across), np.sin(along) * np.cos(across), np.sin(across)], axis=1
    ).astype(np.float32)
    return x, np.repeat([0, 1], per_arc)


def test_a_label_reaches_all_that_hang_together():
    x, truth = moons()
    labels = np.full(len(x), -1)
    labels[[0, len(x) - 1]] = [0, 1]  # one at the start of the one arc, one at the end of the other
    shares = label_propagation.spread(TrainingSet(x, x, labels, 2))
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(x)))
    assert (shares.argmax(axis=1) == truth).all()


def test_a_piece_without_labels_is_not_reached():
    x = normalise(np.concatenate([np.eye(3)[[0] * 12], np.eye(3)[[1] * 12], np.eye(3)[[2] * 12]]))
    labels = np.full(36, -1)
    labels[[0, 12]] = [0, 1]
    shares = label_propagation.spread(TrainingSet(x, x, labels, 2))
    assert (shares[24:] == 0).all()
    assert (label_propagation.certainty(shares)[24:] == 0).all()
    assert (shares[:12].argmax(axis=1) == 0).all()
    assert (shares[12:24].argmax(axis=1) == 1).all()


def test_the_class_that_nobody_labelled_takes_no_part(blobs):
    training, truth = blobs(3, labels_per_class=2)
    some = replace(training, labels=np.where(truth == 2, -1, training.labels))
    shares = label_propagation.spread(some)
    assert (shares[:, 2] == 0).all()
    logits = label_propagation.fit(some, 0.1).logits(training.unit)
    assert (logits[:, 2] == NEVER).all()


def test_certainty():
    rows = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 0], [0.5, 0.5, 0]])
    expected = [1, 0, 0, 1 - np.log(2) / np.log(3)]
    assert label_propagation.certainty(rows) == pytest.approx(expected, abs=1e-12)


def test_what_the_teacher_finds_alike_teaches_the_student(blobs):
    """For a weak student one label each says little; the graph of the teacher says the rest."""
    rng = np.random.default_rng(0)
    seen_by_teacher, truth = blobs(4, per_class=50, labels_per_class=1, dim=16)
    weak = np.eye(4)[truth] + 0.7 * rng.normal(size=(len(truth), 4))
    weak = np.concatenate([weak, rng.normal(size=(len(truth), 8))], axis=1)
    training = replace(seen_by_teacher, unit=normalise(weak))

    def accuracy(probe):
        return (probe.logits(training.unit).argmax(axis=1) == truth).mean()

    alone = accuracy(linear.fit(training, 1.0))
    taught = accuracy(label_propagation.fit(training, 1.0))
    by_itself = accuracy(label_propagation.fit(replace(training, guide=training.unit), 1.0))
    assert taught > alone + 0.1
    assert taught > by_itself + 0.1


def test_it_is_for_few_labels_among_many_images(blobs):
    assert label_propagation.applies(blobs(3, labels_per_class=15)[0])
    assert not label_propagation.applies(blobs(3, labels_per_class=16)[0])
    labels = np.full(5000, -1)
    labels[: label_propagation.MOST_LABELLED + 1] = 0
    assert not label_propagation.applies(
        TrainingSet(np.ones((5000, 2)), np.ones((5000, 2)), labels, 2)
    )


def test_of_many_images_a_draw_is_enough(blobs, monkeypatch):
    monkeypatch.setattr(label_propagation, "MOST_IMAGES", 120)
    monkeypatch.setattr(label_propagation, "MOST_LABELLED", 20)
    training, truth = blobs(3, per_class=200, labels_per_class=3)
    answers = label_propagation.fit(training, 0.1).logits(training.unit).argmax(axis=1)
    assert (answers == truth).mean() > 0.9
