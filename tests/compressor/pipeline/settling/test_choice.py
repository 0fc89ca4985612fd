"""Which candidate is taken: by faithfulness, by speed among equals, within the limits."""

import numpy as np
import pytest

from compressor.pipeline.settling.choice import Measured, fits, most_faithful, rows
from compressor.pipeline.settling.faithfulness import Faithfulness
from runtime.benchmark.latency_table import Timed
from runtime.metrics import RESAMPLES, Estimate


def estimate(value, noise=0.02, seed=0):
    """An r whose resamples move with those of the same seed: a difference of two is then exact."""
    moves = np.random.default_rng(seed).normal(0, noise, RESAMPLES)
    return Estimate(value, value - 2 * noise, value + 2 * noise, value + moves, (0, 50))


def candidate(name, ms, r=None, *, mb=1.0, seed=0, weights="a file"):
    found = None if r is None else Faithfulness(estimate(r, seed=seed), None, None)
    return Measured(Timed(name, mb, ms, ms, 20), weights, found)


def chosen(*found, limits=None):
    return most_faithful(found, {"latency_p95_ms": 10.0} if limits is None else limits)


def test_the_most_faithful_that_fits():
    found = (candidate("quick", 1.0, 0.7), candidate("good", 5.0, 0.8), candidate("big", 20.0, 0.9))
    name, why = chosen(*found)
    assert name == "good"
    assert why == (
        "r 0.800 (0.760 to 0.840), the most faithful of 2 candidates that fit latency_p95_ms 10"
    )


def test_of_equals_within_the_interval_of_their_difference_the_faster():
    """Independent resamples: a difference of 0.01 with a spread of 0.028 is none."""
    found = (candidate("good", 5.0, 0.81), candidate("quick", 1.0, 0.80, seed=1))
    name, why = chosen(*found)
    assert name == "quick"
    assert "as faithful as good (r 0.810" in why
    assert "faster: 1.00 ms, not 5.00" in why


def test_a_small_difference_that_every_resample_shows_counts():
    found = (candidate("good", 5.0, 0.81), candidate("quick", 1.0, 0.80))
    assert chosen(*found)[0] == "good"


def test_without_latencies_the_smaller_of_equals():
    found = (
        candidate("good", None, 0.81, mb=9.0),
        candidate("small", None, 0.80, mb=2.0, seed=1),
    )
    name, why = chosen(*found, limits={"size_mb": 10.0})
    assert name == "small"
    assert "smaller: 2.00 MB, not 9.00" in why


def test_one_without_weights_is_never_preferred_to_one_that_has_them():
    assert chosen(candidate("bare", 1.0), candidate("known", 5.0, 0.3))[0] == "known"
    assert chosen(candidate("bare", 1.0), candidate("known", 50.0, 0.3)) is None


def test_an_unknown_latency_does_not_fit_a_limit():
    timed = Timed("x", 3.0, None, None, None)
    assert not fits(timed, {"latency_p95_ms": 1e6})
    assert fits(timed, {"size_mb": 3.0})
    assert not fits(timed, {"size_mb": 2.9})


@pytest.mark.parametrize("limits", [{}, {"latency_p95_ms": 3.0}])
def test_the_pareto_front_does_not_depend_on_the_limits(limits):
    found = (
        candidate("big", 9.0, 0.9), candidate("small", 4.0, 0.85), candidate("slow", 5.0, 0.8),
        candidate("tiny", 1.0, 0.5), candidate("same", 4.0, 0.84), candidate("bare", 0.5),
    )  # fmt: skip
    table = {row.model: row for row in rows(found, limits)}
    assert [name for name, row in table.items() if row.pareto] == ["big", "small", "tiny"]
    assert not table["bare"].similarity_correlation_centred
    assert table["big"].similarity_correlation_centred.value == 0.9
