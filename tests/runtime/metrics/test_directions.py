"""Rows of unit length."""

import numpy as np
import pytest

from runtime import metrics


def random(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_normalise_gives_float32_rows_of_length_one():
    unit = metrics.normalise(random(7, 5))
    assert unit.dtype == np.float32
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(7), abs=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_normalise_of_values_whose_squares_are_beyond_float32(size):
    row = np.array([[3 * size, 4 * size]], np.float32)
    assert metrics.normalise(row)[0] == pytest.approx([0.6, 0.8], abs=1e-6)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_normalise_refuses_rows_without_direction(bad):
    rows = np.ones((4, 3), np.float32)
    rows[1] = bad
    with pytest.raises(ValueError, match="1 of 4 rows have no direction"):
        metrics.normalise(rows)
