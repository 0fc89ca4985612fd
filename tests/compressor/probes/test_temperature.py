import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.probes.temperature import scale_of
from runtime.metrics import NEVER, calibration_error, log_softmax


def drawn(n, classes=4, seed=0):
    """Logits, and labels drawn from their softmax: calibrated as they are."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, classes))
    shares = np.exp(log_softmax(logits))
    labels = (shares.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, labels


def test_what_is_calibrated_stays():
    logits, labels = drawn(20_000)
    assert scale_of(logits, labels) == pytest.approx(1, abs=0.03)


@given(factor=st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_any_temperature_is_found_again(factor):
    logits, labels = drawn(5000)
    assert scale_of(logits * factor, labels) * factor == pytest.approx(
        scale_of(logits, labels), rel=1e-2
    )


def test_overconfidence_is_taken_away():
    logits, labels = drawn(4000)
    bold = logits * 5
    calm = bold * scale_of(bold, labels)
    assert calibration_error(calm, labels).value < 0.02 < calibration_error(bold, labels).value


def test_few_images_without_a_mistake_are_no_certainty():
    """Platt's targets: of N right answers, the mean confidence becomes about (N + 1) / (N + 2)."""
    labels = np.arange(10) % 2
    logits = np.where(np.eye(2)[labels] == 1, 1.0, -1.0)
    scale = scale_of(logits, labels)
    confidence = np.exp(log_softmax(logits * scale)).max(axis=1)
    assert confidence == pytest.approx(np.full(10, 11 / 12), abs=1e-3)


def test_a_class_that_is_never_answered_changes_nothing():
    logits, labels = drawn(500, classes=3)
    wider = np.insert(logits, 1, NEVER, axis=1)
    moved = np.where(labels >= 1, labels + 1, labels)
    assert scale_of(wider, moved) == pytest.approx(scale_of(logits, labels), rel=1e-4)
