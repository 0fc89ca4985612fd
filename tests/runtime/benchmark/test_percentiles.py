"""Intervals of percentiles: ranks from the binomial, and how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.benchmark.percentiles import fewest, percentile, ranks_of


def test_how_many_runs_a_percentile_needs():
    assert (fewest(0.95), fewest(0.99)) == (59, 299)  # 0.95 ** 59 < 0.05 < 0.95 ** 58


@pytest.mark.parametrize(
    ("count", "quantile", "ranks"),
    [
        (58, 0.95, None),
        (59, 0.95, (50, 59)),
        (100, 0.95, (90, 100)),  # Binomial(100, 0.95): P(< 90) = 0.011, P(= 100) = 0.006
        (500, 0.95, (465, 485)),
        (298, 0.99, None),
        (299, 0.99, (289, 299)),
        (100, 0.5, (40, 61)),  # any table of order statistics
        (1, 0.95, None),
    ],
)
def test_ranks(count, quantile, ranks):
    assert ranks_of(count, quantile) == ranks


@pytest.mark.parametrize("quantile", [0.95, 0.99])
@given(count=st.integers(1, 700))
def test_an_interval_is_there_from_the_fewest_on_and_holds_what_it_is_of(quantile, count):
    found = percentile(np.arange(count, dtype=float), quantile)
    assert (found.ci is not None) == (count >= fewest(quantile))
    if found.ci is not None:
        assert found.ci[0] <= found.ms <= found.ci[1]


@pytest.mark.parametrize("count", [59, 71, 72, 120, 500])
def test_it_holds_the_true_percentile_with_95_percent(count):
    rng = np.random.default_rng(count)
    samples = np.sort(rng.exponential(size=(20_000, count)), axis=1)
    low, high = ranks_of(count, 0.95)
    truth = -np.log(0.05)
    held = (samples[:, low - 1] <= truth) & (truth <= samples[:, high - 1])
    assert held.mean() > 0.95 - 3 * np.sqrt(0.05 * 0.95 / len(samples))
