"""Counting and percentiles, with a clock of the test's own: exact, and in no time."""

import itertools

import numpy as np
import pytest

from runtime.backends.base import Outputs
from runtime.benchmark import latency
from runtime.benchmark.latency import Request

IMAGES = np.zeros((4, 3, 8, 8), np.float32)
ANSWER = Outputs(np.ones((4, 2), np.float32), None)
TICK_S = 2**-7  # 7.8125 ms: sums of it are exact in binary


class Fake:
    calls = 0

    def run(self, images):
        self.calls += 1
        return ANSWER


class Timed:
    """A session whose timed runs take the seconds given; the clock stands still otherwise."""

    def __init__(self, *seconds):
        self.now = 0.0
        self.seconds = itertools.chain([0.0], seconds, itertools.repeat(seconds[-1]))

    def run(self, images):
        self.now += next(self.seconds)
        return ANSWER

    def clock(self):
        return self.now


def ticking():
    """Every look at the clock is a tick later."""
    ticks = itertools.count()
    return lambda: next(ticks) * TICK_S


def alone(session, clock=None, **changes):
    """One session timed, with no warm-up beyond two windows and no early end."""
    how = {"warmup_s": 0, "max_s": 1e9, "width": 0, "block": 1, **changes}
    (found,) = latency.measure_together(
        [Request(session, [IMAGES])], latency.TimingPlan(**how), clock=clock or session.clock
    )
    return found


def test_times_only_the_counted_runs():
    fake = Fake()
    got = alone(fake, max_runs=10, block=5, clock=ticking())
    assert fake.calls == 1 + 2 * 5 + 2 * (1 + 5)  # untimed; two windows; two turns
    assert (got.runs, got.batch) == (10, 4)
    assert got.median_ms == got.p95_ms == got.p99_ms == TICK_S * 1e3
    assert got.median_ms_ci == (TICK_S * 1e3, TICK_S * 1e3)
    assert got.steady
    assert not got.includes_preprocessing


# --- warm-up ---------------------------------------------------------------------------------


def test_it_warms_up_until_two_windows_agree():
    settling = Timed(*[0.9] * 5, *[0.5] * 5, *[0.3] * 5, *[0.29] * 5, 9.0, 0.25)
    got = alone(settling, max_runs=4, longest_warmup_s=1e9)
    assert (got.p99_ms, got.steady) == (250, True)


def test_it_warms_up_for_the_time_given_at_least():
    calm = Timed(*[1.0] * 20, 9.0, 0.25)
    assert alone(calm, warmup_s=20, longest_warmup_s=1e9, max_runs=4).p99_ms == 250


def test_a_warm_up_that_does_not_settle_ends_and_is_said():
    restless = Timed(*(each for n in range(20) for each in [1.0 + n] * 5))
    got = alone(restless, longest_warmup_s=40, max_runs=4)
    assert not got.steady


# --- percentiles -----------------------------------------------------------------------------


def percentiles_of(milliseconds):
    """Of a session whose counted runs take so long, in one turn but for the first run of it."""
    seconds = [each / 1e3 for each in milliseconds]
    runs = [turn for each in seconds for turn in (0.0, each)]
    session = Timed(*[0.0] * 10, *runs)
    return alone(session, max_runs=len(milliseconds), min_runs=10**6)


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


def test_the_raw_times_stand_in_the_order_measured_and_give_the_same_percentiles():
    order = (np.random.default_rng(0).permutation(100) + 1.0).tolist()
    got = percentiles_of(order)
    assert got.times_ms == pytest.approx(order, abs=1e-3)
    again = np.percentile(got.times_ms, [50, 95, 99])
    assert again == pytest.approx([got.median_ms, got.p95_ms, got.p99_ms], abs=1e-3)


@pytest.mark.parametrize("runs", [2, 3, 20, 500])
def test_the_interval_holds_the_median_and_stays_within_the_runs(runs):
    got = percentiles_of(list(range(1, runs + 1)))
    low, high = got.median_ms_ci
    assert 1 - 1e-6 <= low <= got.median_ms <= high <= runs + 1e-6


def test_one_slow_run_moves_the_tail_and_not_the_median():
    got = percentiles_of([1] * 99 + [1000])
    assert (got.median_ms, got.p95_ms) == pytest.approx((1, 1), rel=1e-6)
    assert got.p99_ms == pytest.approx(1 + 0.01 * 999, rel=1e-6)


# --- how long --------------------------------------------------------------------------------


def test_it_stops_when_the_median_is_known_and_no_sooner():
    got = alone(Timed(0.01), width=0.02, min_runs=50, block=10, max_runs=500)
    assert got.runs == 50
    wild = Timed(*[0.01] * 10, *(0.01 * (1 + n % 2) for n in range(2000)))
    assert alone(wild, width=0.02, min_runs=50, block=10, max_runs=200).runs == 200


def test_the_real_clock_by_default():
    plan = latency.TimingPlan(warmup_s=0, longest_warmup_s=0.01, max_runs=20)
    (got,) = latency.measure_together([Request(Fake(), [IMAGES[:1]])], plan)
    assert (got.runs, got.batch) == (20, 1)
    assert 0 <= got.median_ms <= got.p95_ms <= got.p99_ms


# --- together --------------------------------------------------------------------------------


def test_together_they_run_in_turns_and_slow_moments_hit_all():
    order = []

    class Named:
        def __init__(self, name):
            self.name = name

        def run(self, images):
            order.append(self.name)
            return ANSWER

    plan = latency.TimingPlan(warmup_s=0, block=2, max_runs=4, max_s=1e9, width=0)
    requests = [Request(Named("a"), [IMAGES]), Request(Named("b"), [IMAGES[:1]])]
    first, second = latency.measure_together(requests, plan, clock=ticking())
    # Once untimed; two windows of warm-up each; a turn; the turn back
    assert "".join(order) == "ab" + "a" * 10 + "b" * 10 + "aaabbb" + "bbbaaa"
    assert (first.runs, second.runs) == (4, 4)
    assert (first.batch, second.batch) == (4, 1)
    assert first.median_ms == second.median_ms == TICK_S * 1e3


def test_together_the_first_run_of_a_block_does_not_count():
    cold = Timed(*[0.001] * 10, 1.0, 0.002, 0.002, 1.0, 0.002, 0.002)
    plan = latency.TimingPlan(warmup_s=0, block=2, max_runs=4)
    (found,) = latency.measure_together([Request(cold, [IMAGES])], plan, clock=cold.clock)
    assert found.p99_ms == pytest.approx(2)


def test_together_they_stop_after_the_time_but_never_before_two_turns():
    slow = Timed(10.0)
    assert alone(slow, block=3, max_runs=500, longest_s=1).runs == 6


def test_a_slow_file_is_given_the_time_for_an_interval_of_its_p95():
    restless = Timed(*(0.1 + 0.1 * (n % 7) for n in range(2000)))
    found = alone(restless, block=10, max_s=5.0, longest_s=60, width=0.02, max_runs=500)
    assert found.runs == 60
    assert found.p95_ms_ci is not None
    assert alone(Timed(3.0), block=10, max_s=5.0, longest_s=60, width=0.02).p95_ms_ci is None


# --- inputs in turns, and their answers ------------------------------------------------------


class Answering:
    """Answers with what it is given; from the run `stale_after` on with the first answer."""

    def __init__(self, stale_after=10**9, noise=0.0):
        self.seen, self.stale_after, self.noise = [], stale_after, noise

    def run(self, images):
        self.seen.append(float(images[0, 0]))
        given = self.seen[0] if len(self.seen) > self.stale_after else self.seen[-1]
        answer = np.full((1, 2), given * (1 + self.noise * (len(self.seen) > 3)), np.float32)
        return Outputs(answer, answer * 1e-3)


ROTATED = [np.full((1, 1), value, np.float32) for value in (1.0, 2.0, 3.0)]


def rotated(session):
    plan = latency.TimingPlan(warmup_s=0, longest_warmup_s=0, block=4, max_runs=8)
    (found,) = latency.measure_together([Request(session, ROTATED)], plan, clock=ticking())
    return found


def test_inputs_take_turns_without_a_gap():
    session = Answering()
    found = rotated(session)
    assert session.seen[:3] == [1, 2, 3]  # untimed, once each
    timed = session.seen[3:]
    assert timed == [1 + n % 3 for n in range(len(timed))]
    assert (found.inputs, found.same_answers) == (3, True)


def test_another_answer_than_untimed_is_noticed():
    assert not rotated(Answering(stale_after=9)).same_answers
    assert not rotated(Answering(noise=0.02)).same_answers
    assert rotated(Answering(noise=1e-4)).same_answers  # rounding


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_equals_itself_only(value):
    class Broken:
        calls = 0

        def run(self, images):
            self.calls += 1
            return Outputs(np.array([[value if self.calls > after else 1.0]], np.float32), None)

    after = 0
    assert rotated(Broken()).same_answers
    after = 6
    assert not rotated(Broken()).same_answers
