"""Telling images of the task from others: known values, scikit-learn, counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import metrics as fidelity

scores = st.lists(st.integers(-4, 4), min_size=1, max_size=12)


@settings(deadline=None)
@given(inside=scores, outside=scores)
def test_auroc_equals_counting_pairs(inside, outside):
    won = sum((a > b) + (a == b) / 2 for a in inside for b in outside)
    got = fidelity.auroc(np.array(inside, np.float32), np.array(outside, np.float32))
    assert got == pytest.approx(won / (len(inside) * len(outside)), abs=1e-12)


@settings(deadline=None)
@given(inside=scores, outside=scores)
def test_fpr95_equals_counting(inside, outside):
    threshold = np.percentile(inside, 5)
    expected = sum(score > threshold for score in outside) / len(outside)
    assert fidelity.fpr95(np.array(inside), np.array(outside)) == pytest.approx(expected)


def test_auroc_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (50, 30), (400, 900)):
        inside = rng.normal(0.5, 1, n).round(1).astype(np.float32)  # rounded: many ties
        outside = rng.normal(0, 1, m).round(1).astype(np.float32)
        truth, score = np.r_[np.ones(n), np.zeros(m)], np.r_[inside, outside]
        expected = metrics.roc_auc_score(truth, score)
        assert fidelity.auroc(inside, outside) == pytest.approx(expected, abs=1e-12)


def test_separated_scores_are_perfect_and_swapped_ones_the_worst():
    low, high = np.linspace(0, 1, 20), np.linspace(2, 3, 20)
    assert (fidelity.auroc(high, low), fidelity.fpr95(high, low)) == (1, 0)
    assert (fidelity.auroc(low, high), fidelity.fpr95(low, high)) == (0, 1)
    assert fidelity.auroc(low, low) == 0.5


# --- energy and Mahalanobis ------------------------------------------------------------------


def test_energy_by_hand_and_without_classes_that_no_label_covers():
    logits = np.log(np.array([[1.0, 3.0], [0.5, 0.5]]))
    assert fidelity.energy_scores(logits) == pytest.approx(np.log([4, 1]))
    never = np.concatenate([logits, np.full((2, 1), fidelity.NEVER)], axis=1)
    assert fidelity.energy_scores(never) == pytest.approx(np.log([4, 1]))
    assert fidelity.energy_scores(np.array([[1e4, 0.0]]) / 2).tolist() == [5000]


@pytest.mark.parametrize(("n", "d"), [(5, 20), (30, 8), (400, 6)])
def test_the_shrunk_covariance_is_scikit_learns(n, d):
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) @ np.diag(np.linspace(0.2, 2, d))
    expected, _ = covariance.ledoit_wolf(x, assume_centered=True)
    assert fidelity.shrunk_covariance(x) == pytest.approx(expected, abs=1e-12)


def test_mahalanobis_equals_a_loop():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    bank = rng.normal(size=(60, 4)) + 3 * np.eye(3, 4)[labels]
    query = rng.normal(size=(9, 4))
    unit = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    means = np.stack([unit[labels == label].mean(axis=0) for label in range(3)])
    inverse = np.linalg.inv(fidelity.shrunk_covariance(unit - means[labels]))
    expected = [
        -min((q / np.linalg.norm(q) - m) @ inverse @ (q / np.linalg.norm(q) - m) for m in means)
        for q in query
    ]
    got = fidelity.fit_gaussians(bank, labels).scores(query)
    assert got == pytest.approx(np.array(expected), rel=1e-5)


def test_mahalanobis_sees_that_a_small_step_across_is_a_large_one():
    """Training images spread along one direction: one beside them is further than one ahead."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(-0.5, 0.5, 200)
    bank = np.stack([np.cos(angle), np.sin(angle), 0.01 * rng.normal(size=200)], axis=1)
    ahead, beside = [np.cos(0.6), np.sin(0.6), 0], [1, 0, 0.3]
    scores = fidelity.fit_gaussians(bank, np.full(200, -1)).scores(np.array([ahead, beside]))
    assert scores[0] > scores[1]


def test_few_labels_make_no_gaussians_of_their_own():
    rng = np.random.default_rng(0)
    bank, few = rng.normal(size=(40, 5)), np.full(40, -1)
    few[:6] = np.arange(6) % 2
    assert len(fidelity.fit_gaussians(bank, few).means) == 1
    assert len(fidelity.fit_gaussians(bank, np.arange(40) % 2).means) == 2


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_a_bank_without_spread_gives_numbers_all_the_same(rows):
    bank = np.tile([[1.0, 2.0, 3.0]], (rows, 1))
    scores = fidelity.fit_gaussians(bank, np.full(rows, -1)).scores(np.eye(3))
    assert np.all(np.isfinite(scores))
    assert scores.argmax() == 2
