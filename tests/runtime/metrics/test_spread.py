"""How far embeddings are from having collapsed, against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.metrics import spread


def rows(count, width, seed, offset=0.0):
    found = np.random.default_rng(seed).normal(size=(count, width)) + offset
    return found.astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(2, 12),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
    offset=st.sampled_from([0.0, 3.0]),
)
def test_equals_a_loop_over_pairs_and_the_variances_along_the_axes(count, width, seed, offset):
    x = rows(count, width, seed, offset)
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(count) for j in range(count) if i != j]
    found = spread(x)
    assert found.distance == pytest.approx(1 - np.mean(pairs), abs=1e-9)
    variances = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
    if variances.sum() > 1e-9:
        assert found.rank == pytest.approx(variances.sum() ** 2 / (variances**2).sum())
    assert 1 - 1e-9 <= found.rank <= min(count - 1, width) + 1e-9


def test_embeddings_that_are_all_the_same_have_no_spread():
    found = spread(np.tile(np.float32([0.1, 0.7, 0.3]), (9, 1)))
    assert found.distance == pytest.approx(0, abs=1e-12)
    assert found.rank == 1


def test_directions_that_have_nothing_to_do_with_each_other():
    found = spread(np.eye(8, dtype=np.float32))
    assert found.distance == pytest.approx(1)
    assert found.rank == pytest.approx(7)


def test_a_small_difference_is_not_lost_in_rounding():
    x = np.tile(np.float32([1, 0, 0]), (50, 1))
    x[:, 1] = np.linspace(-1e-3, 1e-3, 50)
    angles = np.arctan(x[:, 1].astype(np.float64))
    cosines = np.cos(angles[:, None] - angles)
    assert spread(x).distance == pytest.approx(1 - (cosines.sum() - 50) / (50 * 49), rel=1e-6)
    assert spread(x).rank == pytest.approx(1, abs=1e-4)
