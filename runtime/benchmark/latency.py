"""How long one request takes: sessions timed in turns, after a warm-up, with percentiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from runtime.arrays import AnyArray, Doubles
from runtime.backends.base import Session


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
    times_ms: tuple[float, ...] = ()
    """Every counted run in the order it was timed, to a microsecond, so that a report can be
    judged again: another percentile, another interval, a drift. Older reports have none."""
    cuda_graph: bool | None = None
    """Of an engine: whether its requests ran as a CUDA graph, because that was faster."""
    device_median_ms: float | None = None
    """Of an engine: the inference alone, between two events on the GPU."""
    device_p95_ms: float | None = None
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
    min_runs: int = 50
    """Fewest runs of a session before that: percentiles of fewer would say little."""
    max_runs: int = 500
    max_s: float = 5.0
    """Longest time per session, on average; every session gets at least two turns."""


Request = tuple[Session, AnyArray]
"""A session and the batch that it is given."""
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
    steady = [_warm_up(session, images, plan, clock) for session, images in requests]
    times: list[list[float]] = [[] for _ in requests]
    order, rounds, started = list(range(len(requests))), 0, clock()
    while len(times[0]) < plan.max_runs:
        for number in order:
            session, images = requests[number]
            session.run(images)
            times[number] += _run_times_ms(session, images, plan.block, clock)
        order.reverse()
        rounds += 1
        if rounds < 2:
            continue
        if clock() - started > plan.max_s * len(requests):
            break
        if len(times[0]) >= plan.min_runs and all(_is_known(runs, plan.width) for runs in times):
            break
    return [
        _summary(runs, batch=len(images), steady=settled)
        for runs, settled, (_, images) in zip(times, steady, requests, strict=True)
    ]


_WINDOW = 5
"""Runs whose median a warm-up compares with that of the window before."""


def _run_times_ms(session: Session, images: AnyArray, runs: int, clock: Clock) -> list[float]:
    times = []
    for _ in range(runs):
        before = clock()
        session.run(images)
        times.append((clock() - before) * 1e3)
    return times


def _warm_up(session: Session, images: AnyArray, plan: TimingPlan, clock: Clock) -> bool:
    """Run until two windows agree; return whether they did before the longest time was over."""
    medians: list[float] = []
    started = clock()
    while True:
        medians.append(float(np.median(_run_times_ms(session, images, _WINDOW, clock))))
        spent = clock() - started
        agree = len(medians) > 1 and abs(medians[-1] - medians[-2]) <= plan.steady * medians[-2]
        if (agree and spent >= plan.warmup_s) or spent >= plan.longest_warmup_s:
            return agree


def _is_known(times_ms: Sequence[float], width: float) -> bool:
    low, high = _median_interval(np.sort(times_ms))
    return bool(high - low <= width * np.median(times_ms))


def _median_interval(sorted_ms: Doubles) -> tuple[float, float]:
    """Return the 95 % interval: ranks n/2 -+ 1.96 sqrt(n)/2 (normal form of the binomial)."""
    runs = len(sorted_ms)
    reach = 0.98 * np.sqrt(runs)
    low = max(0, int(np.floor(runs / 2 - reach)) - 1)
    high = min(runs - 1, int(np.ceil(runs / 2 + reach)))
    return float(sorted_ms[low]), float(sorted_ms[high])


def _summary(times_ms: Sequence[float], *, batch: int, steady: bool) -> Latency:
    sorted_ms = np.sort(times_ms)
    median, p95, p99 = np.percentile(sorted_ms, [50, 95, 99])
    return Latency(
        batch=batch,
        runs=len(sorted_ms),
        median_ms=float(median),
        p95_ms=float(p95),
        p99_ms=float(p99),
        median_ms_ci=_median_interval(sorted_ms),
        steady=steady,
        includes_preprocessing=False,
        images_per_s=batch / float(median) * 1e3,
        times_ms=tuple(round(time_ms, 3) for time_ms in times_ms),
    )
