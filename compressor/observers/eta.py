"""How long the rest of a run takes: counted work times measured rates, nothing invented."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from compressor.events import (
    Event,
    Progress,
    StepEnded,
    StepStarted,
    StepWork,
    UncountedStep,
    WorkPlanned,
)


@dataclass(frozen=True)
class Remaining:
    """The rest of a run, as far as it can be known."""

    seconds: float
    """Time of the work whose rate or duration is known."""
    on_top: tuple[str, ...]
    """Parts of the run whose time is not known, in order."""


@dataclass
class _Piece:
    """A piece of counted work, and how many of its units are left."""

    work: StepWork
    left: int


@dataclass
class _Rate:
    """Seconds spent on so many units."""

    seconds: float = 0.0
    count: int = 0


class Eta:
    """An observer that estimates the remaining time of a run.

    Each step's work is counted in units (`WorkPlanned`); how long a unit takes is measured from the
    progress of this run. The first item of a piece of work only starts the clock: before it, models
    are loaded and files opened. A step without countable units takes as long as it last did.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_planned = False
        self._pieces: list[_Piece] = []
        self._uncounted: dict[str, UncountedStep] = {}
        self._rates: dict[str, _Rate] = {}
        self._started: tuple[str, float] = ("", 0.0)
        """The step at work, and when it began."""
        self._last: tuple[str, int, float] | None = None
        """Label, items done and time of the last progress of the step at work."""

    def __call__(self, event: Event) -> None:
        """Update the estimate."""
        if isinstance(event, WorkPlanned):
            self._is_planned = True
            self._pieces = [_Piece(work, work.count) for work in event.work]
            self._uncounted = {each.step: each for each in event.uncounted}
        elif isinstance(event, StepStarted):
            self._started, self._last = (event.step, self._clock()), None
        elif isinstance(event, StepEnded):
            self._pieces = [piece for piece in self._pieces if piece.work.step != event.step]
            self._uncounted.pop(event.step, None)
        elif isinstance(event, Progress):
            self._advance(event)

    def _advance(self, event: Progress) -> None:
        now = self._clock()
        pieces = [piece for piece in self._pieces if piece.work.step == event.step]
        at = [event.label.startswith(piece.work.label) for piece in pieces]
        if True not in at:
            return
        piece = pieces[at.index(True)]
        for before in pieces[: at.index(True)]:
            before.left = 0  # finished, or found in the cache
        finished = event.done
        if self._last is not None and self._last[0] == event.label:
            finished -= self._last[1]
            rate = self._rates.setdefault(piece.work.unit, _Rate())
            rate.seconds += now - self._last[2]
            rate.count += finished
        self._last = (event.label, event.done, now)
        # Where one piece is all, its total is better than the plan: it leaves out what a killed
        # run had finished.
        is_all = event.label == piece.work.label
        left = event.total - event.done if is_all else piece.left - finished
        piece.left = max(left, 0)

    def remaining(self) -> Remaining | None:
        """Return the estimate; None before the work is known."""
        if not self._is_planned:
            return None
        seconds, on_top = 0.0, []
        for piece in self._pieces:
            rate = self._rates.get(piece.work.unit)
            if rate is not None and rate.count:
                seconds += piece.left * rate.seconds / rate.count
            elif piece.left:
                on_top.append(piece.work.step)
        for step in self._uncounted.values():
            if step.seconds is None:
                on_top.append(step.part)
            else:
                seconds += max(step.seconds - self._spent(step.step), 0.0)
        return Remaining(seconds, tuple(dict.fromkeys(on_top)))

    def _spent(self, step: str) -> float:
        """Return for how long a step has been at work."""
        return self._clock() - self._started[1] if step == self._started[0] else 0.0


def text(remaining: Remaining | None) -> str:
    """Return the estimate in words."""
    if remaining is None or (remaining.on_top and not remaining.seconds):
        return "ETA: estimating"
    words = f"ETA: about {duration(remaining.seconds)}"
    *others, last = remaining.on_top or ("",)
    if not last:
        return words
    return (
        f"{words}, {', '.join(others)} and {last} on top" if others else f"{words}, {last} on top"
    )


def duration(seconds: float) -> str:
    """Return a duration to read: 42 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
