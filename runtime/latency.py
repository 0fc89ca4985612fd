"""How long one request takes, with warm-up and percentiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.session import Session


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
    includes_preprocessing: bool = False

    @property
    def images_per_s(self) -> float:
        """Images answered per second at the median, one request at a time."""
        return self.batch / self.median_ms * 1e3


def measure(
    session: Session,
    images: npt.NDArray[np.float32],
    *,
    warmup_s: float = 0.5,
    max_runs: int = 500,
    max_s: float = 5.0,
    min_runs: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Time `session.run(images)` after a warm-up, run by run.

    Args:
        session: a loaded model.
        images: float32 [B, 3, S, S], normalised: one request.
        warmup_s: uncounted runs go on for this many seconds, and for at least 3 runs.
        max_runs: no more counted runs than this.
        max_s: counted runs stop after this many seconds, once there are `min_runs`.
        min_runs: percentiles of fewer runs would say nothing.
        clock: monotonic seconds; a parameter so that tests need no real time.
    """
    started = clock()
    warmed = 0
    while warmed < 3 or clock() - started < warmup_s:
        session.run(images)
        warmed += 1

    times_ms: list[float] = []
    started = clock()
    while len(times_ms) < max_runs:
        before = clock()
        session.run(images)
        after = clock()
        times_ms.append((after - before) * 1e3)
        if after - started > max_s and len(times_ms) >= min_runs:
            break
    return _summary(np.sort(times_ms), batch=len(images))


@dataclass(frozen=True)
class Turns:
    """How long several sessions are timed in turns."""

    warmup_s: float = 0.5
    """Of each, once, before anything counts."""
    block: int = 10
    """Counted runs of a turn; one that does not count comes before them."""
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
    """Time several sessions so that what slows the machine for a while slows them all.

    They run in turns, a block of runs each, in an order that reverses from round to round; the
    first run of a block fills the caches again and does not count.

    Args:
        requests: each session with the batch it is given.
        turns: how long.
        clock: monotonic seconds; a parameter so that tests need no real time.
    """
    for session, images in requests:
        started, warmed = clock(), 0
        while warmed < 3 or clock() - started < turns.warmup_s:
            session.run(images)
            warmed += 1
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
        if rounds >= 2 and clock() - started > turns.max_s * len(requests):
            break
    return [
        _summary(np.sort(each), batch=len(images))
        for each, (_, images) in zip(times, requests, strict=True)
    ]


def _summary(ordered_ms: npt.NDArray[np.float64], *, batch: int) -> Latency:
    runs = len(ordered_ms)
    # Ranks that hold the median with 95 %: n/2 -+ 1.96 sqrt(n)/2 (normal form of the binomial).
    reach = 0.98 * np.sqrt(runs)
    low = max(0, int(np.floor(runs / 2 - reach)) - 1)
    high = min(runs - 1, int(np.ceil(runs / 2 + reach)))
    median, p95, p99 = np.percentile(ordered_ms, [50, 95, 99])
    return Latency(
        batch=batch,
        runs=runs,
        median_ms=float(median),
        p95_ms=float(p95),
        p99_ms=float(p99),
        median_ms_ci=(float(ordered_ms[low]), float(ordered_ms[high])),
    )
