import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.probes import weighted_knn
from compressor.probes.probe import LinearProbe, VotingProbe, never_unless, probe_from
from compressor.probes.training_set import TrainingSet
from runtime.metrics import NEVER, knn_votes


def directions(*degrees):
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def linear(seed=0, classes=4, dim=6):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(classes, dim)).astype(np.float32)
    bias = never_unless(np.array([0, 2, 3]), classes)
    weight[1] = 0
    bias[[0, 2, 3]] = rng.normal(size=3)
    return LinearProbe(weight, bias)


def vote(seed=0, classes=4, dim=6):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 2, 3], 12)
    labels[:3] = [0, 2, 3]
    bank = rng.normal(size=(12, dim)).astype(np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    return weighted_knn.fit(TrainingSet(bank, bank, labels, classes))


def test_toy_vote_is_the_one_of_the_weighted_knn():
    """Computed by hand: bank at 0, 20, 40 degrees, query at 5, T = 0.07."""
    bank = directions(0, 20, 40)
    probe = weighted_knn.fit(TrainingSet(bank, bank, np.array([0, 1, 1]), 2))
    shares = np.exp(probe.logits(directions(5)))
    assert shares[0, 0] == pytest.approx(0.578480758, abs=1e-5)
    assert shares.sum() == pytest.approx(1, abs=1e-5)


def test_with_ten_labels_the_vote_answers_what_the_weighted_knn_answers():
    rng = np.random.default_rng(1)
    bank, query = rng.normal(size=(10, 5)), rng.normal(size=(50, 5))
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    labels = np.arange(10) % 3
    probe = weighted_knn.fit(TrainingSet(bank.astype(np.float32), bank, labels, 3))
    expected = knn_votes(query, bank, labels, 3, k=10)
    assert np.allclose(np.exp(probe.logits(query)), expected, atol=1e-4)


@pytest.mark.parametrize("probe", [linear(), vote()], ids=["linear", "vote"])
class TestEveryProbe:
    def test_what_is_saved_is_what_is_read(self, probe):
        again = probe_from(probe.arrays())
        x = np.random.default_rng(2).normal(size=(5, 6))
        assert type(again) is type(probe)
        assert np.array_equal(again.logits(x), probe.logits(x))

    def test_in_torch_it_answers_the_same(self, probe):
        x = np.random.default_rng(3).normal(size=(7, 6)).astype(np.float32)
        unit = torch.nn.functional.normalize(torch.from_numpy(x), dim=1)
        with torch.inference_mode():
            got = probe.scaled(1.7).module()(unit).numpy()
        assert np.allclose(got, probe.scaled(1.7).logits(x), atol=1e-4)

    @given(scale=st.floats(1e-2, 1e2))
    @settings(max_examples=20, deadline=None)
    def test_a_scale_changes_no_answer(self, probe, scale):
        x = np.random.default_rng(4).normal(size=(9, 6)).astype(np.float32)
        before, after = probe.logits(x), probe.scaled(scale).logits(x)
        assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
        kept = [0, 2, 3]
        assert np.allclose(after[:, kept], scale * before[:, kept], rtol=1e-3, atol=1e-5 * scale)

    def test_a_class_without_labels_stays_without(self, probe):
        x = np.random.default_rng(5).normal(size=(9, 6))
        for scale in (1e-2, 1e2):
            logits = probe.scaled(scale).logits(x)
            assert np.all(logits[:, 1] <= NEVER / 1.5)
            assert (logits.argmax(axis=1) != 1).all()


def test_a_vote_far_from_everything_is_finite():
    bank = directions(0, 1)
    probe = weighted_knn.fit(TrainingSet(bank, bank, np.array([0, 1]), 3))
    assert isinstance(probe, VotingProbe)
    assert np.isfinite(probe.logits(directions(180))).all()


def test_many_labelled_images_do_not_vote():
    bank = np.ones((weighted_knn.MOST_VOTERS + 1, 2), np.float32)
    labels = np.arange(len(bank)) % 2
    assert not weighted_knn.applies(TrainingSet(bank, bank, labels, 2))
    labels[0] = -1
    assert weighted_knn.applies(TrainingSet(bank, bank, labels, 2))
