"""In what state a machine was while something was timed: what else ran, how warm it got."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUSY = 0.1
"""Share of all cores that others may use before a machine counts as busy."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_THERMAL = Path("/sys/class/thermal")
_CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Moment:
    """What the counters of the kernel say at one time."""

    at_s: float
    all_s: float | None
    """Core seconds that all processes have worked; None where the kernel does not say."""
    own_s: float
    """Those of this process."""
    throttled: int | None
    """How often a core was slowed down for heat; None where it is not counted."""


@contextmanager
def watched() -> Iterator[dict[str, Any]]:
    """Yield a dictionary that is filled when the block ends, as it stands in a report.

    `others_cores`: cores that other processes used, on average; `busy`: whether that is more than a
    tenth of the machine; `throttled`: whether a core was slowed down for heat; `temperature_c`: the
    warmest sensor at the end; `peak_memory_mb`: of this process, ever. None: not readable here.
    """
    found: dict[str, Any] = {}
    before = now()
    yield found
    found |= between(before, now())


def now() -> Moment:
    """The counters at this moment."""
    times = os.times()
    return Moment(time.monotonic(), _worked_s(), times.user + times.system, _throttled())


def between(before: Moment, after: Moment) -> dict[str, Any]:
    """What went on between two moments."""
    others = None
    seconds = after.at_s - before.at_s
    if before.all_s is not None and after.all_s is not None and seconds > 0:
        worked = (after.all_s - before.all_s) - (after.own_s - before.own_s)
        others = round(max(0.0, worked) / seconds, 2)
    throttled = None
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled > before.throttled
    return {
        "others_cores": others,
        "busy": None if others is None else others > BUSY * (os.cpu_count() or 1),
        "throttled": throttled,
        "temperature_c": _temperature_c(),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
    }


def _worked_s() -> float | None:
    """From the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    line = _read(Path("/proc/stat")).partition("\n")[0].split()
    if len(line) < 9 or line[0] != "cpu":
        return None
    ticks = [int(each) for each in line[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) * _TICK_S


def _throttled() -> int | None:
    counts = [
        int(_read(path) or 0) for path in _CPUS.glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    ]
    return sum(counts) if counts else None


def _temperature_c() -> float | None:
    found = [_read(path).strip() for path in _THERMAL.glob("thermal_zone*/temp")]
    degrees = [int(each) / 1000 for each in found if each.lstrip("-").isdigit()]
    return max(degrees, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
