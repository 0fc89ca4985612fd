"""Probabilities: by hand, against slow loops, against scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import metrics


def logits_of(*chances):
    return np.log(np.array(chances))


def test_log_softmax_of_huge_logits():
    shares = np.exp(metrics.log_softmax(np.array([[1e4, 1e4 - 1], [-1e4, 0]])))
    assert shares[0] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.e)])
    assert shares[1] == pytest.approx([0, 1])


def test_calibration_error_by_hand():
    """Bin of .8: three of four right, off by .05. Bin of .6: none of two right, off by .6."""
    chances = [(0.8, 0.2)] * 4 + [(0.4, 0.6)] * 2
    labels = np.array([0, 0, 0, 1, 0, 0])
    figure = metrics.calibration_error(logits_of(*chances), labels)
    assert figure.value == pytest.approx((4 * 0.05 + 2 * 0.6) / 6)
    assert figure.low <= figure.value <= figure.high


def test_half_right_at_one_half_is_calibrated():
    figure = metrics.calibration_error(np.zeros((40, 2)), np.arange(40) % 2)
    assert figure.value == pytest.approx(0, abs=1e-12)


def test_sure_and_wrong_is_as_far_off_as_can_be():
    logits = np.tile([20.0, 0.0], (8, 1))
    sure = metrics.calibration_error(logits, np.ones(8, np.int64))
    assert (sure.value, sure.low, sure.high) == pytest.approx((1, 1, 1), abs=1e-6)
    assert metrics.calibration_error(logits, np.zeros(8, np.int64)).value < 1e-6


def test_calibration_error_against_a_slow_loop():
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(200, 5)) * 2, rng.integers(0, 5, 200)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        rows = [i for i in range(200) if low <= chances[i].max() < high]
        if rows:
            right = np.mean([chances[i].argmax() == labels[i] for i in rows])
            total += len(rows) / 200 * abs(right - np.mean([chances[i].max() for i in rows]))
    assert metrics.calibration_error(logits, labels).value == pytest.approx(total)


def test_log_loss_by_hand():
    loss = metrics.log_loss(logits_of((0.8, 0.2), (0.5, 0.5)), np.array([1, 0]))
    assert loss == pytest.approx([-np.log(0.2), np.log(2)])


# --- distance to the teacher's ---------------------------------------------------------------


def test_distances_by_hand():
    one, other = logits_of((0.8, 0.2), (0.5, 0.5)), logits_of((0.5, 0.5), (0.5, 0.5))
    assert metrics.total_variation(one, other) == pytest.approx([0.3, 0])
    middle = (0.65, 0.35)
    bits = 0.5 * sum(
        0.8 * np.log2(0.8 / middle[0]) if n == 0 else 0.2 * np.log2(0.2 / middle[1]) for n in (0, 1)
    ) + 0.5 * (0.5 * np.log2(0.5 / middle[0]) + 0.5 * np.log2(0.5 / middle[1]))
    assert metrics.jensen_shannon(one, other) == pytest.approx([bits, 0], abs=1e-12)


def test_distances_of_answers_that_exclude_each_other_are_one():
    one, other = np.array([[0.0, metrics.NEVER]]), np.array([[metrics.NEVER, 0.0]])
    assert metrics.total_variation(one, other) == pytest.approx([1])
    assert metrics.jensen_shannon(one, other) == pytest.approx([1])


def test_jensen_shannon_equals_scipy():
    distance = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    one, other = 3 * rng.normal(size=(40, 7)), 3 * rng.normal(size=(40, 7))
    shares = [np.exp(metrics.log_softmax(each)) for each in (one, other)]
    expected = distance.jensenshannon(*shares, base=2, axis=1) ** 2
    assert metrics.jensen_shannon(one, other) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-30, 30)] * 6), min_size=1, max_size=5))
def test_distances_are_symmetric_and_within_zero_and_one(rows):
    values = np.array(rows)
    one, other = values[:, :3], values[:, 3:]
    for distance in (metrics.total_variation, metrics.jensen_shannon):
        got = distance(one, other)
        assert got == pytest.approx(distance(other, one), abs=1e-12)
        assert np.all((got >= 0) & (got <= 1 + 1e-12))
        assert distance(one, one + 5) == pytest.approx(np.zeros(len(one)), abs=1e-9)
