"""A file that holds many images, wherever it lies: read at any place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol


class Reader(Protocol):
    """An open file."""

    def __call__(self, offset: int, length: int, /) -> bytes:
        """Return bytes from a place on; fewer at the end of the file."""


class StoredFile(Protocol):
    """A file that holds many images."""

    @property
    def name(self) -> str:
        """Its name below the folder that all files of the source share."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def stamp(self) -> object:
        """Return a JSON value that changes with its content."""

    def reading(self) -> AbstractContextManager[Reader]:
        """Open it to read most of it, from its beginning to its end."""

    def read(self, offset: int, length: int) -> bytes:
        """Return one part of it; less at its end."""

    def __str__(self) -> str:
        """Where it lies, for messages."""


class LocalFile:
    """A file on a disk."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        status = path.stat()
        self.size, self._changed = status.st_size, status.st_mtime_ns

    def stamp(self) -> object:
        """Return its name, size and time."""
        return [self.name, self.size, self._changed]

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Open it. Several threads may read it at once."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            yield lambda offset, length: os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Return one part of it; less at its end."""
        with self.reading() as read:
            return read(offset, length)

    def __str__(self) -> str:
        """Its path."""
        return str(self.path)


def local_files(paths: Sequence[Path]) -> list[LocalFile]:
    """Return files with their names below the folder that they share."""
    shared = os.path.commonpath([path.parent for path in paths])
    return [LocalFile(path, path.relative_to(shared).as_posix()) for path in paths]
