"""The slope of a series: right on a line, and seldom sure of what is not there."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.metrics.trend import slope

lengths = st.integers(5, 200)


@given(lengths, st.floats(-3, 3), st.floats(-5, 5))
def test_a_line_has_its_slope_without_doubt(length, start, step):
    found = slope(start + step * np.arange(length))
    assert [found.value, found.low, found.high] == pytest.approx([step] * 3, abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=30))
def test_the_slope_lies_in_its_interval_and_turns_with_the_series(values):
    """Up to 30 numbers: the parts of a longer series are not all as long, from its end others."""
    series = np.array(values)
    found, turned = slope(series), slope(series[::-1])
    assert found.low <= found.value <= found.high
    assert turned.value == pytest.approx(-found.value, abs=1e-12)
    assert [turned.low, turned.high] == pytest.approx([-found.high, -found.low], abs=1e-12)


def test_one_odd_number_hardly_moves_it():
    series = np.arange(15.0)
    series[7] = 1000
    assert slope(series).value == pytest.approx(1)


@pytest.mark.parametrize("length", [0, 1, 4])
def test_few_numbers_have_none(length):
    assert slope(np.arange(float(length))) is None


@pytest.mark.parametrize("length", [5, 6, 7])
def test_of_all_orders_at_most_one_in_forty_rises_and_one_falls(length):
    """Exactly: whatever the noise is, if no number is like its neighbour."""
    orders = np.array(list(itertools.permutations(range(length))), np.float64)
    found = [slope(order) for order in orders]
    assert 0 < np.mean([each.low > 0 for each in found]) <= 0.025
    assert 0 < np.mean([each.high < 0 for each in found]) <= 0.025


@pytest.mark.parametrize(("length", "most"), [(20, 0.035), (100, 0.035)])
def test_noise_seldom_rises_and_a_rise_in_noise_is_covered(length, most):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1_000, length))
    found = [slope(each) for each in noise]
    assert np.mean([each.low > 0 for each in found]) <= most
    rising = [slope(each + 0.3 * np.arange(length)) for each in noise]
    assert np.mean([each.low <= 0.3 <= each.high for each in rising]) >= 0.93


def test_a_long_series_of_which_neighbours_are_alike_is_not_taken_for_more_evidence():
    """Each number is half the one before, plus noise: a slow swing, no rise."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(500):
        series = np.zeros(300)
        for at in range(1, 300):
            series[at] = 0.5 * series[at - 1] + rng.normal()
        found.append(slope(series))
    assert np.mean([each.low > 0 for each in found]) <= 0.06
