"""What a person sees while a command works: lines and progress bars, all on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import click

from compressor import events
from compressor.events import Event

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress

T = TypeVar("T")


def note(line: str) -> None:
    """Say a line; above the progress bar if there is one."""
    if _draws():
        _console().print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(line, err=True)


def track(items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """A progress bar on a terminal, nothing elsewhere; see `runtime.progress.Track`."""
    if total < 2 or not _draws():
        yield from items
        return
    with _new_bar() as progress:
        yield from progress.track(items, total=total, description=label)


def _new_bar() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=_console(), transient=True)


class Console:
    """An observer of a run: prints its events as lines, and draws a bar while a step works."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._label = ""

    def __call__(self, event: Event) -> None:
        """React to one event."""
        if isinstance(event, events.Progress):
            self._draw(event)
        elif isinstance(event, events.StepStarted):
            note(f"{event.step}: {event.summary}")
        elif isinstance(event, events.StepEnded):
            self._close()
            cached = event.state == "cached"
            seconds = f"{event.seconds:.1f} s{' then' if cached else ''}"
            note(f"  {'unchanged, skipped' if cached else 'done'} ({seconds})")
        elif isinstance(event, events.Message):
            note(f"warning: {event.text}" if event.level == "warning" else event.text)
        elif isinstance(event, events.RunEnded):
            self._close()

    def _draw(self, event: events.Progress) -> None:
        if event.total < 2 or not _draws():
            return
        if self._bar is None or self._label != event.label:
            self._close()
            self._bar, self._label = _new_bar(), event.label
            self._bar.add_task(event.label, total=event.total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=event.done)
        if event.done == event.total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _draws() -> bool:
    return sys.stderr.isatty() and find_spec("rich") is not None


@cache
def _console() -> RichConsole:
    """The one console: what is printed on it while a bar is drawn comes above the bar."""
    from rich.console import Console

    return Console(stderr=True)


class _NoteHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def set_up_logging() -> None:
    """Warnings and notes of the library like our own lines, without timestamps."""
    logging.basicConfig(level=logging.WARNING, handlers=[_NoteHandler()])
    for package in ("compressor", "export", "runtime"):
        logging.getLogger(package).setLevel(logging.INFO)
