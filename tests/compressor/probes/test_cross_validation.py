from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.probes import cross_validation
from compressor.probes.kinds import Candidate

PROTOTYPES = [Candidate("prototypes")]


@given(labels=st.lists(st.integers(0, 4), min_size=8, max_size=60), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_folds_share_the_images_out_class_by_class(labels, seed):
    labels = np.array(labels)
    parts = list(cross_validation.stratified_folds(labels, 5, np.random.default_rng(seed)))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for label in np.unique(labels):
        counts = [int((labels[part] == label).sum()) for part in parts]
        assert max(counts) - min(counts) <= 1


def test_every_image_is_answered_by_a_probe_that_never_saw_it(blobs, monkeypatch):
    training, _ = blobs(3, per_class=12, labels_per_class=4)
    asked = training.labelled
    seen = []

    class Spy(Candidate):
        def fit(self, rest):
            seen.append({tuple(row) for row in rest.unit[rest.labelled]})
            assert set(rest.present) == {0, 1, 2}
            return super().fit(rest)

    trial = cross_validation.cross_validate(training, [Spy("prototypes")])
    assert trial.logits.shape == (1, 2, 12, 3)
    everything = {tuple(row) for row in training.unit[asked]}
    for start in range(0, len(seen), cross_validation.FOLDS):
        left_out = [everything - each for each in seen[start : start + cross_validation.FOLDS]]
        assert set().union(*left_out) == everything
        assert sum(map(len, left_out)) == len(everything)


def test_the_only_label_of_a_class_is_learnt_from_and_not_asked_for(blobs):
    training, truth = blobs(4, per_class=10, labels_per_class=5)
    labels = training.labels.copy()
    labels[truth == 3] = -1
    labels[np.flatnonzero(truth == 3)[0]] = 3
    trial = cross_validation.cross_validate(replace(training, labels=labels), PROTOTYPES)
    assert sorted(set(trial.labels)) == [0, 1, 2]
    assert (trial.logits[..., 3] > -1000).all()


@pytest.mark.parametrize(("classes", "labels_per_class"), [(8, 1), (3, 2)])
def test_too_few_labels_conclude_nothing(blobs, classes, labels_per_class):
    training, _ = blobs(classes, labels_per_class=labels_per_class)
    assert cross_validation.cross_validate(training, PROTOTYPES) is None


def test_many_labels_are_thinned(blobs, monkeypatch):
    monkeypatch.setattr(cross_validation, "MOST_LABELLED", 40)
    monkeypatch.setattr(cross_validation, "MANY", 40)
    training, _ = blobs(3, per_class=50)
    trial = cross_validation.cross_validate(training, PROTOTYPES)
    assert trial.logits.shape == (1, 1, 40, 3)
    again = cross_validation.cross_validate(training, PROTOTYPES)
    assert np.array_equal(trial.logits, again.logits)


def test_of_two_classes_one_that_is_too_rare_to_be_drawn_is_learnt_from(blobs, monkeypatch):
    training, truth = blobs(2, per_class=200)
    rare = np.flatnonzero(truth == 1)[3:]
    training = training.only(np.setdiff1d(np.arange(len(truth)), rare))  # 200 and 3
    monkeypatch.setattr(cross_validation, "MOST_LABELLED", 20)
    drawn = [training.thinned(20, 0, seed).labels for seed in range(3)]
    assert [int((labels == 1).sum()) for labels in drawn] == [2, 2, 1]  # the last had drawn one
    trials = [
        cross_validation.cross_validate(training, [Candidate("linear", 1.0)], seed=seed)
        for seed in range(3)
    ]
    assert [int((trial.labels == 1).sum()) for trial in trials] == [2, 2, 0]
    assert all(np.isfinite(trial.logits).all() for trial in trials)
