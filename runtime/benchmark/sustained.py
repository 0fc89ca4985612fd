"""A device under load for a while: does it slow down when it is warm?"""

from __future__ import annotations

import time

import numpy as np
from msgspec import Struct

from runtime.benchmark.latency import Clock, Request

_PARTS = 10
"""The first and the last tenth of the requests are compared."""


class Sustained(Struct, frozen=True):
    """One request after the other, without a pause, before anything was timed."""

    seconds: float
    runs: int
    first_median_ms: float
    """Of the first tenth of the requests, when the device was cold."""
    last_median_ms: float
    """Of the last tenth."""


def heat(request: Request, seconds: float, *, clock: Clock = time.perf_counter) -> Sustained:
    """Run a session for so many seconds.

    Args:
        request: its inputs are given in turns.
        seconds: at least so long.
        clock: monotonic seconds; a parameter so that tests need no real time.
    """
    started = clock()
    ends = [started]
    while ends[-1] - started < seconds or len(ends) == 1:
        request.session.run(request.inputs[len(ends) % len(request.inputs)])
        ends.append(clock())
    times_ms = np.diff(ends) * 1e3
    part = max(1, len(times_ms) // _PARTS)
    return Sustained(
        seconds=ends[-1] - started,
        runs=len(times_ms),
        first_median_ms=float(np.median(times_ms[:part])),
        last_median_ms=float(np.median(times_ms[-part:])),
    )
