"""Which entries of the store live runs use, so that nobody removes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout


class UseList:
    """The keys that this run uses, in a file beside a lock that dies with the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: FileLock | None = None
        self._path = folder / f"{os.getpid()}-{uuid4().hex[:8]}.keys"

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Keep other processes from adding keys and from removing entries meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".guard", is_singleton=False):
            yield

    def add(self, keys: Iterable[str]) -> None:
        """Protect entries from removal; call it in `guarded`."""
        if self._lock is None:
            self._lock = _lock_of(self._path)
            self._lock.acquire()
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{key}\n" for key in keys)

    def release(self) -> None:
        """Give up the protection: the run has ended."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock = None

    def keys(self) -> set[str]:
        """Return the keys that live runs use; forget the lists of dead ones."""
        found = set[str]()
        for path in list(self.folder.glob("*.keys")):
            lock = _lock_of(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                with suppress(FileNotFoundError):  # released meanwhile
                    found.update(path.read_text(encoding="utf-8").split())
                continue
            path.unlink(missing_ok=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
        return found


def _lock_of(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"), is_singleton=False)
