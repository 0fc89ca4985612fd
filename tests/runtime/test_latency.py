"""Counting and percentiles, with a clock of the test's own: exact, and in no time."""

import itertools

import numpy as np
import pytest

from runtime import latency

IMAGES = np.zeros((4, 3, 8, 8), np.float32)
TICK_S = 2**-7  # 7.8125 ms: sums of it are exact in binary


class Fake:
    calls = 0

    def run(self, images):
        self.calls += 1


class Timed:
    """A session whose runs take the seconds given, by a clock that stands still otherwise."""

    def __init__(self, *seconds):
        self.now, self.seconds = 0.0, itertools.chain(seconds, itertools.repeat(seconds[-1]))

    def run(self, images):
        self.now += next(self.seconds)

    def clock(self):
        return self.now


def ticking():
    """Every look at the clock is a tick later."""
    ticks = itertools.count()
    return lambda: next(ticks) * TICK_S


def test_times_only_the_counted_runs():
    fake = Fake()
    got = latency.measure(fake, IMAGES, warmup_s=0, max_runs=10, max_s=1e9, clock=ticking())
    assert fake.calls == 3 + 10
    assert got.runs == 10
    assert got.batch == 4
    assert got.median_ms == got.p95_ms == got.p99_ms == TICK_S * 1e3
    assert got.median_ms_ci == (TICK_S * 1e3, TICK_S * 1e3)
    assert not got.includes_preprocessing


def test_warms_up_for_the_time_given():
    fake = Fake()
    # The clock is looked at before the first run, and before every run from the fourth on.
    latency.measure(fake, IMAGES, warmup_s=9 * TICK_S, max_runs=1, clock=ticking())
    assert fake.calls == 3 + 8 + 1


def test_warms_up_for_three_runs_at_least():
    slow = Timed(2.0, 2.0, 2.0, 0.25)
    got = latency.measure(slow, IMAGES, warmup_s=0.5, max_runs=5, clock=slow.clock)
    assert (got.runs, got.p99_ms) == (5, 250)


def percentiles_of(milliseconds, **options):
    session = Timed(0.0, 0.0, 0.0, *(each / 1e3 for each in milliseconds))
    options = {"warmup_s": 0, "max_runs": len(milliseconds), "max_s": 1e9} | options
    return latency.measure(session, IMAGES, clock=session.clock, **options)


def test_percentiles_of_a_hundred_runs():
    order = np.random.default_rng(0).permutation(100) + 1  # 1 to 100 ms, in any order
    got = percentiles_of(order.tolist())
    assert got.runs == 100
    assert got.median_ms == pytest.approx(50.5, rel=1e-9)
    assert got.p95_ms == pytest.approx(95.05, rel=1e-9)
    assert got.p99_ms == pytest.approx(99.01, rel=1e-9)
    # Of 100, the 40th and the 61st hold the median with 95 % (any table of order statistics).
    assert got.median_ms_ci == pytest.approx((40, 61), rel=1e-9)
    assert got.images_per_s == pytest.approx(4 / 50.5e-3, rel=1e-9)


@pytest.mark.parametrize("runs", [1, 2, 3, 20, 500])
def test_the_interval_holds_the_median_and_stays_within_the_runs(runs):
    got = percentiles_of(list(range(1, runs + 1)))
    low, high = got.median_ms_ci
    assert 1 - 1e-6 <= low <= got.median_ms <= high <= runs + 1e-6


def test_one_slow_run_moves_the_tail_and_not_the_median():
    got = percentiles_of([1] * 99 + [1000])
    assert (got.median_ms, got.p95_ms) == pytest.approx((1, 1), rel=1e-6)
    assert got.p99_ms == pytest.approx(1 + 0.01 * 999, rel=1e-6)


def test_stops_when_time_is_up():
    slow = Timed(1.0)
    got = latency.measure(slow, IMAGES, warmup_s=0, max_s=5, min_runs=3, clock=slow.clock)
    assert got.runs == 6  # the first that ends after 5 s


def test_takes_the_fewest_runs_even_when_time_is_up():
    slow = Timed(1.0)
    assert latency.measure(slow, IMAGES, max_s=5, min_runs=20, clock=slow.clock).runs == 20


def test_takes_no_more_runs_than_asked_for():
    fast = Timed(2**-20)
    assert latency.measure(fast, IMAGES, warmup_s=0, max_runs=70, clock=fast.clock).runs == 70


def test_the_real_clock_by_default():
    got = latency.measure(Fake(), IMAGES[:1], warmup_s=0, max_runs=25)
    assert (got.runs, got.batch) == (25, 1)
    assert 0 <= got.median_ms <= got.p95_ms <= got.p99_ms


def test_together_they_run_in_turns_and_slow_moments_hit_all():
    order = []

    class Named:
        def __init__(self, name):
            self.name = name

        def run(self, images):
            order.append(self.name)

    turns = latency.Turns(warmup_s=0, block=2, max_runs=4, max_s=1e9)
    requests = [(Named("a"), IMAGES), (Named("b"), IMAGES[:1])]
    first, second = latency.measure_together(requests, turns, clock=ticking())
    assert "".join(order) == "aaabbb" + "aaabbb" + "bbbaaa"  # warm-up; a turn; the turn back
    assert (first.runs, second.runs) == (4, 4)
    assert (first.batch, second.batch) == (4, 1)
    assert first.median_ms == second.median_ms == TICK_S * 1e3


def test_together_the_first_run_of_a_block_does_not_count():
    cold = Timed(*[0.001] * 3, 1.0, 0.002, 0.002, 1.0, 0.002, 0.002)
    turns = latency.Turns(warmup_s=0, block=2, max_runs=4)
    (found,) = latency.measure_together([(cold, IMAGES)], turns, clock=cold.clock)
    assert found.p99_ms == pytest.approx(2)


def test_together_they_stop_after_the_time_but_never_before_two_turns():
    slow = Timed(10.0)
    turns = latency.Turns(warmup_s=0, block=3, max_runs=500, max_s=1)
    (found,) = latency.measure_together([(slow, IMAGES)], turns, clock=slow.clock)
    assert found.runs == 6
