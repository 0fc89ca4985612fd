from dataclasses import replace

import numpy as np

from compressor.probes import nearest_centroid
from runtime.metrics import NEVER


def test_logits_are_cosines_of_the_centred_up_to_the_images_own_length(blobs):
    training, labels = blobs(3, labels_per_class=4)
    logits = nearest_centroid.fit(training, 10.0).logits(training.unit)
    centred = training.unit - training.unit.mean(axis=0)
    for label in range(3):
        mean = centred[(training.labels == label)].mean(axis=0)
        cosine = centred @ mean / np.linalg.norm(centred, axis=1) / np.linalg.norm(mean)
        expected = 10 * cosine * np.linalg.norm(centred, axis=1)
        assert np.allclose(logits[:, label], expected, atol=1e-4)
    assert (logits.argmax(axis=1) == labels).mean() > 0.9


def test_two_opposite_labels_are_told_apart(blobs):
    training, labels = blobs(2, labels_per_class=1)
    assert (
        nearest_centroid.fit(training, 1.0).logits(training.unit).argmax(axis=1) == labels
    ).all()


def test_a_class_without_labels_is_never_answered(blobs):
    training, labels = blobs(3)
    some = replace(training, labels=np.where(labels == 0, -1, labels))
    logits = nearest_centroid.fit(some, 10.0).logits(training.unit)
    assert (logits[:, 0] == NEVER).all()
    assert set(logits.argmax(axis=1)) == {1, 2}


def test_a_class_whose_mean_is_the_mean_of_all_is_finite(blobs):
    training, _ = blobs(2)
    same = np.ones((4, 3), np.float32) / np.sqrt(3).astype(np.float32)
    probe = nearest_centroid.fit(replace(training, unit=same, labels=np.array([0, 0, 1, 1])), 10.0)
    assert np.isfinite(probe.logits(same)).all()
