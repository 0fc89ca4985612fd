"""`events.jsonl`: all events of a run as JSON lines, with the time of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from compressor.events import Event, Progress, RunStarted

FILE = "events.jsonl"
_PROGRESS_S = 1.0  # between two lines about the same work; its last one is always written


class EventLog:
    """An observer that appends events to a file, from the start of the run on.

    A run that is started again continues the file. Events before `RunStarted` wait for it, so that
    a run that is refused early writes nothing.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._waiting: list[bytes] | None = []
        self._progress: tuple[str, str, float] = ("", "", 0.0)

    def __call__(self, event: Event) -> None:
        """Append one event; raises OSError where the disk refuses it."""
        now = self._clock()
        if isinstance(event, Progress) and self._is_too_soon(event, now):
            return
        fields = msgspec.to_builtins(event)
        line = msgspec.json.encode({"time": round(now, 3), **fields}) + b"\n"
        if self._waiting is not None:
            self._waiting.append(line)
            if not isinstance(event, RunStarted):
                return
            line, self._waiting = b"".join(self._waiting), None
        with self._path.open("ab") as file:
            file.write(line)

    def _is_too_soon(self, event: Progress, now: float) -> bool:
        step, label, last = self._progress
        same = (step, label) == (event.step, event.label)
        if same and event.done < event.total and now - last < _PROGRESS_S:
            return True
        self._progress = (event.step, event.label, now)
        return False
