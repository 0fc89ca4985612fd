"""What a person sees while a command works: lines, and on a terminal one bar; all on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

import click

from compressor import events
from compressor.events import Event
from compressor.observers import eta
from compressor.observers.eta import Eta
from runtime.cli import exit_code, print_report, say
from runtime.text import printable

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress as RichProgress
    from typing_extensions import Self

    from compressor.api.result import RunResult

HEARTBEAT_S = 30.0
"""Where no bar is drawn, a line tells at most this often how far the work is."""


def note(line: str) -> None:
    """Print a line; above the bar if there is one."""
    line = printable(line)
    if _draws():
        _rich_console().print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(line, err=True)


class Console:
    """An observer that prints the events of a run as lines, and how long the rest takes.

    Use it as a context manager, so that the bar is removed however the command ends.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._eta = Eta(clock)
        self._bar = _Bar() if _draws() else None
        self._step = events.StepStarted(step="", summary="", number=1, total=1)
        self._printed = clock()
        self._messages: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self._eta(event)
        if isinstance(event, events.StepStarted):
            self._step = event
            self._print(f"{event.step}: {event.summary}")
            self._draw("", 0.0)
        elif isinstance(event, events.Progress):
            self._show_progress(event)
        elif isinstance(event, events.StepEnded):
            then = " then" if event.state == "cached" else ""
            word = "unchanged, skipped" if event.state == "cached" else "done"
            self._print(f"  {word} ({event.seconds:.1f} s{then})")
        elif isinstance(event, events.Message) and event.text not in self._messages:
            self._messages.add(event.text)
            self._print(f"warning: {event.text}" if event.level == "warning" else event.text)
        elif isinstance(event, events.EpochEnded):
            self._print(event.text())
        elif isinstance(event, events.RunEnded) and self._bar is not None:
            self._bar.close()

    def _show_progress(self, event: events.Progress) -> None:
        if self._bar is not None:
            self._draw(event.label, event.done / max(1, event.total))
        elif self._clock() - self._printed >= HEARTBEAT_S:
            what = f"  {event.label}: {event.done:,} of {event.total:,}"
            if self._step.step:
                what += f" (step {self._step.number} of {self._step.total}). "
                what += eta.text(self._eta.remaining())
            self._print(what)

    def _print(self, line: str) -> None:
        note(line)
        self._printed = self._clock()

    def _draw(self, label: str, share: float) -> None:
        """Draw the bar with `share` of the step at work done."""
        if self._bar is None:
            return
        step = self._step
        what = f"step {step.number} of {step.total}: {label or step.step}" if step.step else label
        share_of_run = (step.number - 1 + share) / step.total
        self._bar.update(what, share_of_run, eta.text(self._eta.remaining()))


class _Bar:
    """The one bar of a command, drawn by rich on a terminal."""

    def __init__(self) -> None:
        self._progress: RichProgress | None = None

    def update(self, what: str, share: float, remaining: str) -> None:
        """Draw it, `share` of it full, with words before and after it."""
        if self._progress is None:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[remaining]}"),
            )
            self._progress = Progress(*columns, console=_rich_console(), transient=True)
            self._progress.add_task(what, total=1.0, remaining=remaining)
            self._progress.start()
        task = self._progress.task_ids[0]
        self._progress.update(task, description=what, completed=share, remaining=remaining)

    def close(self) -> None:
        """Remove it."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _draws() -> bool:
    return sys.stderr.isatty() and find_spec("rich") is not None


@cache
def _rich_console() -> RichConsole:
    """Return the one console: what is printed on it while a bar is drawn appears above the bar."""
    from rich.console import Console as RichConsole

    return RichConsole(stderr=True)


class _NoteHandler(logging.Handler):
    """Prints each message of the log once."""

    def __init__(self) -> None:
        super().__init__()
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if (line := record.getMessage()) not in self._printed:
            self._printed.add(line)
            note(line)


def set_up_logging() -> None:
    """Print log messages of the library like other lines, without timestamps."""
    logging.basicConfig(level=logging.WARNING, handlers=[_NoteHandler()])
    for package in ("compressor", "export", "runtime"):
        logging.getLogger(package).setLevel(logging.INFO)


def print_result(result: RunResult, *, as_json: bool) -> None:
    """Print a result; exit with the code of its verdict if there is one.

    Args:
        result: of a run, or of a choice of images to label.
        as_json: whether stdout gets one JSON document.
    """
    from runtime.documents import plain

    report = result.report
    if report is None:
        if as_json:
            files = {kind: str(path) for kind, path in result.files.items()}
            say(json.dumps({"selection": plain(result.selection), "files": files}))
        note(f"\n{result.summary}\n{result.next_step}")
        return
    print_report(report, as_json=as_json)
    note(f"\n{result.summary}\n{result.next_step}")
    sys.exit(exit_code(report))
