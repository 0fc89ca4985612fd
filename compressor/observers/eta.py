"""How long the rest of a run takes: counted work times measured rates, nothing invented."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from compressor.events import Event, Progress, StepEnded, StepStarted, StepWork, WorkPlanned


@dataclass(frozen=True)
class Remaining:
    """The rest of a run, as far as it can be known."""

    seconds: float | None
    """Of the counted work of all steps; None while the rate of one of its units is unknown."""
    at_least: float
    """Of the part of it whose rate is known."""


@dataclass
class _Rate:
    """Seconds spent on so many units."""

    seconds: float = 0.0
    count: int = 0


class Eta:
    """An observer that estimates the remaining time of a run.

    Each step's work is counted in units (`WorkPlanned`); how long a unit takes is measured from the
    progress of this run. The first item of a piece of work only starts the clock: before it, models
    are loaded and files opened. Steps without counted work are left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._work: dict[str, StepWork] = {}
        self._left: dict[str, int] = {}
        self._rates: dict[str, _Rate] = {}
        self._last: tuple[str, int, float] | None = None
        """Label, items done and time of the last progress of the step at work."""

    def __call__(self, event: Event) -> None:
        """Update the estimate."""
        if isinstance(event, WorkPlanned):
            self._work = {work.step: work for work in event.work}
            self._left = {work.step: work.count for work in event.work}
        elif isinstance(event, StepStarted):
            self._last = None
        elif isinstance(event, StepEnded):
            self._left.pop(event.step, None)
        elif isinstance(event, Progress):
            self._advance(event)

    def _advance(self, event: Progress) -> None:
        now, work = self._clock(), self._work.get(event.step)
        if work is None or not event.label.startswith(work.label):
            return
        finished = event.done
        if self._last is not None and self._last[0] == event.label:
            finished -= self._last[1]
            rate = self._rates.setdefault(work.unit, _Rate())
            rate.seconds += now - self._last[2]
            rate.count += finished
        self._last = (event.label, event.done, now)
        # Where one piece is all, its total is better than the plan: it leaves out what a killed
        # run had finished.
        is_all = event.label == work.label
        left = event.total - event.done if is_all else self._left.get(event.step, 0) - finished
        self._left[event.step] = max(left, 0)

    def remaining(self) -> Remaining | None:
        """Return the estimate; None before the work is known."""
        if not self._work:
            return None
        known, is_whole = 0.0, True
        for step, left in self._left.items():
            rate = self._rates.get(self._work[step].unit)
            if rate is not None and rate.count:
                known += left * rate.seconds / rate.count
            elif left:
                is_whole = False
        return Remaining(known if is_whole else None, known)


def text(remaining: Remaining | None) -> str:
    """Return the estimate in words."""
    if remaining is None:
        return "ETA: estimating"
    if remaining.seconds is not None:
        return f"ETA: about {duration(remaining.seconds)}"
    at_least = f", over {duration(remaining.at_least)}" if remaining.at_least >= 1 else ""
    return f"ETA: estimating{at_least}"


def duration(seconds: float) -> str:
    """Return a duration to read: 42 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
