"""What a person sees while a command works: lines and progress bars, all on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

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
    with Progress(*columns, console=_console(), transient=True) as progress:
        yield from progress.track(items, total=total, description=label)


def _draws() -> bool:
    return sys.stderr.isatty() and find_spec("rich") is not None


@cache
def _console() -> Console:
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
