"""How long one request takes, with warm-up and percentiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.backends.base import Session


@dataclass(frozen=True)
class Latency:
    """Wall-clock time of one `Session.run` at one batch size, host memory to host memory."""

    batch: int
    runs: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    median_ms_ci: tuple[float, float]
    """95 % interval of the median, from the order statistics of the runs."""
    steady: bool = True
    """Whether the warm-up ended because the times had settled, and not because it took too long."""
    includes_preprocessing: bool = False

    @property
    def images_per_s(self) -> float:
        """Images answered per second at the median, one request at a time."""
        return self.batch / self.median_ms * 1e3


@dataclass(frozen=True)
class Turns:
    """How long sessions are timed, in turns."""

    warmup_s: float = 0.5
    """Of each, once, before anything counts; longer until two windows of runs agree."""
    longest_warmup_s: float = 3.0
    steady: float = 0.05
    """Two windows of the warm-up agree when their medians differ by no more than this share."""
    block: int = 10
    """Counted runs of a turn; one that does not count comes before them."""
    width: float = 0.02
    """They stop when the 95 % interval of every median is no wider than this share of it."""
    min_runs: int = 50
    """Of each session before that; percentiles of fewer would say little."""
    max_runs: int = 500
    """Of each session."""
    max_s: float = 5.0
    """Of each session; there are never fewer than two turns."""


def measure_together(
    requests: Sequence[tuple[Session, npt.NDArray[Any]]],
    turns: Turns = Turns(),
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Time sessions so that what slows the machine for a while slows them all.

    They run in turns, a block of runs each, in an order that reverses from round to round; the
    first run of a block fills the caches again and does not count. They stop when every median is
    known well enough, or after the time or the runs allowed.

    Args:
        requests: each session with the batch it is given.
        turns: how long.
        clock: monotonic seconds; a parameter so that tests need no real time.
    """
    steady = [_warm_up(session, images, turns, clock) for session, images in requests]
    times: list[list[float]] = [[] for _ in requests]
    order, rounds, started = list(range(len(requests))), 0, clock()
    while len(times[0]) < turns.max_runs:
        for which in order:
            session, images = requests[which]
            session.run(images)
            for _ in range(turns.block):
                before = clock()
                session.run(images)
                times[which].append((clock() - before) * 1e3)
        order.reverse()
        rounds += 1
        if rounds < 2:
            continue
        if clock() - started > turns.max_s * len(requests):
            break
        if len(times[0]) >= turns.min_runs and all(_is_known(each, turns.width) for each in times):
            break
    return [
        _summary(np.sort(each), batch=len(images), steady=calm)
        for each, calm, (_, images) in zip(times, steady, requests, strict=True)
    ]


_WINDOW = 5  # runs whose median a warm-up compares with that of the window before


def _warm_up(
    session: Session, images: npt.NDArray[Any], turns: Turns, clock: Callable[[], float]
) -> bool:
    """Run until two windows agree; whether they did before the longest time was over."""
    medians: list[float] = []
    started = clock()
    while True:
        times = []
        for _ in range(_WINDOW):
            before = clock()
            session.run(images)
            times.append(clock() - before)
        medians.append(float(np.median(times)))
        spent = clock() - started
        agree = len(medians) > 1 and abs(medians[-1] - medians[-2]) <= turns.steady * medians[-2]
        if (agree and spent >= turns.warmup_s) or spent >= turns.longest_warmup_s:
            return agree


def _is_known(times_ms: Sequence[float], width: float) -> bool:
    low, high = _interval(np.sort(times_ms))
    return bool(high - low <= width * np.median(times_ms))


def _interval(ordered_ms: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Of the median, 95 %: the ranks n/2 -+ 1.96 sqrt(n)/2 (normal form of the binomial)."""
    runs = len(ordered_ms)
    reach = 0.98 * np.sqrt(runs)
    low = max(0, int(np.floor(runs / 2 - reach)) - 1)
    high = min(runs - 1, int(np.ceil(runs / 2 + reach)))
    return float(ordered_ms[low]), float(ordered_ms[high])


def _summary(ordered_ms: npt.NDArray[np.float64], *, batch: int, steady: bool) -> Latency:
    median, p95, p99 = np.percentile(ordered_ms, [50, 95, 99])
    return Latency(
        batch=batch,
        runs=len(ordered_ms),
        median_ms=float(median),
        p95_ms=float(p95),
        p99_ms=float(p99),
        median_ms_ci=_interval(ordered_ms),
        steady=steady,
    )
