"""What a person sees while a command works: lines and progress bars, all on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TypeVar

import click

T = TypeVar("T")


def note(line: str) -> None:
    """Say a line."""
    click.echo(line, err=True)


def track(items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """A progress bar on a terminal, nothing elsewhere; see `runtime.progress.Track`."""
    if total < 2 or not sys.stderr.isatty() or find_spec("rich") is None:
        yield from items
        return
    from rich.console import Console
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
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=label)


def set_up_logging() -> None:
    """Warnings and notes of the library to stderr, without timestamps."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for package in ("compressor", "export", "runtime"):
        logging.getLogger(package).setLevel(logging.INFO)
