"""How busy and how warm a machine was while something was timed on it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from msgspec import Struct

BUSY = 0.1
"""Share of all cores that other processes may use before a machine counts as busy."""
_NAMED = 5
"""Most other processes that are named."""
_LEAST = 0.02
"""Cores that a process uses at least to be named."""
_CPUS = Path("/sys/devices/system/cpu")
_WORK = ("user", "nice", "system", "irq", "softirq", "steal")


ProcessKey = tuple[int, float]
"""Id of a process and when it began: ids are given again, and names change (a kernel's worker has
the name of its work)."""


class OtherProcess(Struct, frozen=True):
    """Another process that used the CPU."""

    name: str
    pid: int
    cores: float
    """That it used, on average."""


class MachineLoad(Struct, frozen=True, omit_defaults=True):
    """The load of a machine between two snapshots. None: this machine does not tell."""

    others_cores: float | None
    """Cores that other processes used, on average."""
    busy: bool | None
    """Whether that is more than a tenth of the machine."""
    throttled: bool | None
    """Whether a core was slowed down for heat."""
    temperature_c: float | None
    """The warmest sensor at the end."""
    peak_memory_mb: float | None
    """The most memory that this process ever held."""
    others: tuple[OtherProcess, ...] = ()
    """The processes that used most; those outside a container cannot be seen from within."""


@dataclass(frozen=True)
class Snapshot:
    """Counters of the kernel at one time."""

    at_s: float
    all_s: float | None
    """Core seconds that all processes have worked; None where the kernel does not count them."""
    own_s: float
    """Core seconds that this process has worked."""
    throttled: int | None
    """How often a core was slowed down for heat; None where that is not counted."""
    processes: Mapping[ProcessKey, tuple[str, float]] = field(default_factory=dict)
    """Name and core seconds of every other process that can be seen."""


def now() -> Snapshot:
    """Read the counters."""
    at_s, own_s = time.monotonic(), time.process_time()
    return Snapshot(at_s, _work_s(), own_s, _throttle_count(), _processes())


def between(before: Snapshot, after: Snapshot) -> MachineLoad:
    """Return the load between two snapshots; call it at the second, for it reads the sensors."""
    others = None
    seconds = after.at_s - before.at_s
    if before.all_s is not None and after.all_s is not None and seconds > 0:
        work_s = (after.all_s - before.all_s) - (after.own_s - before.own_s)
        others = round(max(0.0, work_s) / seconds, 2)
    throttled = None
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled > before.throttled
    return MachineLoad(
        others_cores=others,
        busy=None if others is None else others > BUSY * (psutil.cpu_count() or 1),
        throttled=throttled,
        temperature_c=_temperature_c(),
        peak_memory_mb=_peak_memory_mb(),
        others=_busiest(before, after) if seconds > 0 else (),
    )


def in_words(load: MachineLoad) -> str:
    """Return how many cores others used, and which processes used most of it."""
    words = f"other processes used {load.others_cores or 0:.1f} cores"
    if not load.others:
        return f"{words}; none of them can be seen from here"
    named = (f"{other.name} ({other.pid}) {other.cores:.1f}" for other in load.others)
    return f"{words}, most of all {', '.join(named)}"


def _busiest(before: Snapshot, after: Snapshot) -> tuple[OtherProcess, ...]:
    """Return the processes that used most cores, the busiest first."""
    seconds, found = after.at_s - before.at_s, list[OtherProcess]()
    for key, (name, used_s) in after.processes.items():
        _, used_before = before.processes.get(key, (name, 0.0))
        cores = (used_s - used_before) / seconds
        if cores >= _LEAST:
            found.append(OtherProcess(name, key[0], round(cores, 2)))
    return tuple(sorted(found, key=lambda other: -other.cores)[:_NAMED])


def _processes() -> dict[ProcessKey, tuple[str, float]]:
    own, found = os.getpid(), dict[ProcessKey, tuple[str, float]]()
    for process in psutil.process_iter(["name", "cpu_times", "create_time"]):
        name, times = process.info["name"], process.info["cpu_times"]
        if process.pid != own and times is not None:
            shown = "".join(each if each.isprintable() else "?" for each in name or "?")
            key = process.pid, process.info["create_time"] or 0.0
            found[key] = shown, times.user + times.system
    return found


def _work_s() -> float | None:
    """Add up the time that cores were not idle; time of guests is part of the user's."""
    try:
        times = psutil.cpu_times()
    except (OSError, ValueError):  # some containers hide or empty the kernel's file
        return None
    return float(sum(getattr(times, kind, 0.0) for kind in _WORK))


def _throttle_count() -> int | None:
    """Add up the throttle counters of all cores; psutil does not read them."""
    counts = []
    for path in _CPUS.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        try:
            counts.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return sum(counts) if counts else None


def _temperature_c() -> float | None:
    if not hasattr(psutil, "sensors_temperatures"):  # macOS, Windows
        return None
    sensors = psutil.sensors_temperatures().values()
    return max((sensor.current for chip in sensors for sensor in chip), default=None)


def _peak_memory_mb() -> float | None:
    """Return the peak of resident memory; psutil knows it on Windows only."""
    try:
        import resource
    except ImportError:
        memory = psutil.Process().memory_info()
        return round(memory.peak_wset / 1e6, 1) if hasattr(memory, "peak_wset") else None
    unit = 1 if psutil.MACOS else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
