"""A list of images: a text file with one path a line."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from compressor.data.sources.source import Source
from runtime.errors import InputError


class ListFile(Source):
    """Images that a text file names, a path a line, relative to the file's folder or absolute.

    A name is the path relative to the file's folder. Empty lines are passed over, and a path that
    is there twice counts once.
    """

    def __init__(self, path: Path) -> None:
        """Read the list.

        Raises:
            InputError: it cannot be read, is no UTF-8 text, or names nothing.
        """
        super().__init__(str(path))
        self.folder: Path = path.parent
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 text, so not a list of images") from error
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        if "\0" in text:
            raise InputError(f"{path}: not a list of images: it has NUL characters")
        lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
        if not lines:
            raise InputError(f"{path}: an empty list of images")
        names = sorted(set(map(self._name, lines)))
        self._names = names
        if len(names) < len(lines):
            self.notes = (f"{len(lines) - len(names)} lines name an image again",)

    def _name(self, line: str) -> str:
        path = line
        if path.startswith("/"):
            path = os.path.relpath(path, self.folder)
        elif "//" in path or "./" in path:
            path = os.path.normpath(path)
        return path

    @property
    def names(self) -> Sequence[str]:
        """The paths, sorted."""
        return self._names

    def open(self, name: str) -> BinaryIO:
        """Open a file; a pipe, which would be waited for, is empty."""
        path = self.folder / name
        return path.open("rb") if path.stat().st_size else io.BytesIO()

    def where(self, name: str) -> str:
        """Return the path of a file, for messages."""
        return f"{self.folder}/{name}"

    def fingerprint(self) -> object:
        """Return names, sizes and times of all files."""
        found: list[tuple[str, int, int]] = []
        for name in self._names:
            try:
                status = os.stat(f"{self.folder}/{name}")  # noqa: PTH116  (a million of them)
                found.append((name, status.st_size, status.st_mtime_ns))
            except OSError:  # the audit names it
                found.append((name, -1, 0))
        return found
