"""How long one request takes: sessions timed in turns, after a warm-up, with percentiles.

The inputs rotate, and what is answered while timed is compared with what is answered untimed, as
the compliance tests of MLPerf Inference do: a time is worth nothing if the answer is another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from runtime.arrays import AnyArray, Doubles
from runtime.backends.base import Outputs, Session
from runtime.benchmark.percentiles import Interval, percentile


class Latency(Struct, frozen=True, omit_defaults=True):
    """Wall-clock time of one `Session.run` at one batch size, host memory to host memory."""

    batch: int
    runs: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    median_ms_ci: tuple[float, float]
    """95 % interval of the median, from the order statistics of the runs."""
    steady: bool
    """Whether the warm-up ended because the times had settled, and not because it took too long."""
    includes_preprocessing: bool
    images_per_s: float
    """Images answered per second at the median, one request at a time."""
    p95_ms_ci: Interval | None = None
    """95 % interval, from the order statistics; None under 59 runs, and in older reports."""
    p99_ms_ci: Interval | None = None
    """The same; None under 299 runs."""
    inputs: int | None = None
    """Different batches that took turns; older reports have none."""
    same_answers: bool | None = None
    """Whether the timed runs gave the answers of the untimed ones; older reports have none."""
    times_ms: tuple[float, ...] = ()
    """Every counted run in the order it was timed, to a microsecond, so that a report can be
    judged again: another percentile, another interval, a drift. Older reports have none."""
    cuda_graph: bool | None = None
    """Of an engine: whether its requests ran as a CUDA graph, because that was faster."""
    device_median_ms: float | None = None
    """Of an engine: the inference alone, between two events on the GPU."""
    device_p95_ms: float | None = None
    device_as_graph: bool | None = None
    """Whether that inference ran as a CUDA graph; else the time includes gaps between launches."""
    load_ms: float | None = None
    """From the file to a session that can answer; with the first batch size only."""
    first_ms: float | None = None
    """The first answer, of one image: it may allocate, compile or tune."""


@dataclass(frozen=True)
class TimingPlan:
    """How long sessions are warmed up and timed."""

    warmup_s: float = 0.5
    """Shortest warm-up of a session; it lasts until two windows of runs agree."""
    longest_warmup_s: float = 3.0
    steady: float = 0.05
    """Two windows agree when their medians differ by no more than this share."""
    block: int = 10
    """Counted runs of a session in one turn, after one run that does not count."""
    width: float = 0.02
    """Stop when the 95 % interval of every median is no wider than this share of the median."""
    min_runs: int = 60
    """Fewest runs of a session before that: the 95th percentile has no interval under 59."""
    max_runs: int = 500
    max_s: float = 5.0
    """Longest time per session, on average, once it has `min_runs`."""
    longest_s: float = 30.0
    """Longest time per session, on average; every session gets at least two turns."""


@dataclass(frozen=True)
class Request:
    """A session, and the batches of one size that it is given in turns."""

    session: Session
    inputs: Sequence[AnyArray]


Clock = Callable[[], float]


def measure_together(
    requests: Sequence[Request],
    plan: TimingPlan = TimingPlan(),
    *,
    clock: Clock = time.perf_counter,
) -> list[Latency]:
    """Time sessions in turns, so that what slows the machine for a while slows them all.

    Each turn is a block of runs; the order of the sessions reverses from round to round. The first
    run of a block fills the caches again and does not count. Timing stops when every median is
    known well enough, or after the longest time or the most runs of the plan.

    Args:
        requests: what to time.
        plan: how long.
        clock: monotonic seconds; a parameter so that tests need no real time.
    """
    timers = [_Timer(request, clock) for request in requests]
    for timer in timers:
        timer.warm_up(plan)
    order, rounds, started = list(timers), 0, clock()
    while len(timers[0].times_ms) < plan.max_runs:
        for timer in order:
            timer.turn(plan.block)
        order.reverse()
        rounds += 1
        if rounds >= 2 and _is_enough(timers, plan, (clock() - started) / len(timers)):
            break
    return [timer.summary() for timer in timers]


def _is_enough(timers: Sequence[_Timer], plan: TimingPlan, seconds: float) -> bool:
    """Whether to stop after so many seconds per session."""
    if len(timers[0].times_ms) < plan.min_runs:
        return seconds > plan.longest_s
    known = (_is_known(timer.times_ms, plan.width) for timer in timers)
    return seconds > min(plan.max_s, plan.longest_s) or all(known)


_WINDOW = 5
"""Runs whose median a warm-up compares with that of the window before."""
_SAME = 0.01
"""Largest difference of an answer from the untimed one, as a share of its largest value: half
precision rounds to 0.0005 of a value, and another image's answer is far from this."""


class _Timer:
    """A request while it is timed: its inputs in turns, its times, and whether it answers alike."""

    def __init__(self, request: Request, clock: Clock) -> None:
        self.times_ms: list[float] = []
        self._request, self._clock = request, clock
        self._next = 0
        self._steady = False
        self._untimed = [request.session.run(images) for images in request.inputs]
        self._same = True

    def warm_up(self, plan: TimingPlan) -> None:
        """Run until two windows agree, or until the longest time is over."""
        medians: list[float] = []
        started = self._clock()
        while True:
            medians.append(float(np.median(self._run(_WINDOW))))
            spent = self._clock() - started
            agree = len(medians) > 1 and abs(medians[-1] - medians[-2]) <= plan.steady * medians[-2]
            if (agree and spent >= plan.warmup_s) or spent >= plan.longest_warmup_s:
                self._steady = agree
                return

    def turn(self, runs: int) -> None:
        """Time a block of runs after one that does not count."""
        self._run(1)
        self.times_ms += self._run(runs)

    def _run(self, runs: int) -> list[float]:
        """Time so many runs; compare their answers when all are done."""
        inputs, session = self._request.inputs, self._request.session
        numbers = [(self._next + run) % len(inputs) for run in range(runs)]
        self._next = (self._next + runs) % len(inputs)
        times, answers = list[float](), list[Outputs]()
        for number in numbers:
            before = self._clock()
            answer = session.run(inputs[number])
            times.append((self._clock() - before) * 1e3)
            answers.append(answer)
        pairs = zip(answers, numbers, strict=True)
        self._same &= all(_is_same(answer, self._untimed[number]) for answer, number in pairs)
        return times

    def summary(self) -> Latency:
        """Return what was measured."""
        sorted_ms = np.sort(self.times_ms)
        median = float(np.median(sorted_ms))
        p95, p99 = percentile(sorted_ms, 0.95), percentile(sorted_ms, 0.99)
        batch = len(self._request.inputs[0])
        return Latency(
            batch=batch,
            runs=len(sorted_ms),
            median_ms=median,
            p95_ms=p95.ms,
            p99_ms=p99.ms,
            median_ms_ci=_median_interval(sorted_ms),
            steady=self._steady,
            includes_preprocessing=False,
            images_per_s=batch / median * 1e3,
            p95_ms_ci=p95.ci,
            p99_ms_ci=p99.ci,
            inputs=len(self._request.inputs),
            same_answers=self._same,
            times_ms=tuple(round(time_ms, 3) for time_ms in self.times_ms),
        )


def _is_same(timed: Outputs, untimed: Outputs) -> bool:
    """Whether two answers to the same images are equal up to rounding; NaN equals NaN."""
    pairs = [(timed.embedding, untimed.embedding)]
    if timed.logits is not None and untimed.logits is not None:
        pairs.append((timed.logits, untimed.logits))
    return all(
        np.allclose(got, expected, rtol=0, atol=_SAME * _largest(expected), equal_nan=True)
        for got, expected in pairs
    )


def _largest(values: AnyArray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))


def _is_known(times_ms: Sequence[float], width: float) -> bool:
    low, high = _median_interval(np.sort(times_ms))
    return bool(high - low <= width * np.median(times_ms))


def _median_interval(sorted_ms: Doubles) -> Interval:
    """Return the 95 % interval: ranks n/2 -+ 1.96 sqrt(n)/2 (normal form of the binomial)."""
    runs = len(sorted_ms)
    reach = 0.98 * np.sqrt(runs)
    low = max(0, int(np.floor(runs / 2 - reach)) - 1)
    high = min(runs - 1, int(np.ceil(runs / 2 + reach)))
    return float(sorted_ms[low]), float(sorted_ms[high])
