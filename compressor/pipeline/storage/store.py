"""The store: finished outputs by key, shared by all runs. It is the one place where they are made.

entries/KEY/   outputs and record.json; appears whole, by one rename
work/KEY/      outputs being made; survives a kill, so that the next attempt continues there
locks/KEY      held while KEY is made: a second process waits for the first
locks/KEY.begun  when that began; the seconds of attempts that were killed count too
in_use/RUN     held by a live run, with the keys that it uses: these are never removed
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from msgspec import Struct

from compressor.pipeline.storage import entries, records
from compressor.pipeline.storage.entries import Entry
from compressor.pipeline.storage.in_use import UseList

_WORK_KEPT_S = 24 * 3600
_OF_OLD_VERSIONS = re.compile(r"\.?[0-9a-f]{64}\.[0-9a-f]{64}(\.\d+\.tmp)?")


class _Attempt(Struct, frozen=True):
    """When the making of an entry began, so that the seconds of one that is killed are known."""

    begun: float
    """Seconds since the epoch."""
    before: float
    """Seconds of the attempts before."""


@dataclass(frozen=True)
class Store:
    """A folder of entries; those not used for longest make room for new ones."""

    folder: Path
    limit_bytes: int | None
    """None: no limit (the private store of one run)."""
    uses: UseList

    @classmethod
    def at(cls, folder: Path, limit_bytes: int | None) -> Store:
        """Return the store in a folder. Nothing is written before something is made."""
        return cls(folder, limit_bytes, UseList(folder / "in_use"))

    def work(self, key: str) -> Path:
        """Return where an entry is being made; a killed attempt may have left work there."""
        return self.folder / "work" / key

    def peek(self, key: str) -> Entry | None:
        """Return the whole entry of a key; touches nothing."""
        return entries.load(self.folder / "entries" / key)

    def find(self, key: str) -> Entry | None:
        """Return the whole entry of a key, and protect it from removal while this run lives."""
        if self.peek(key) is None:
            return None
        with self.uses.guarded():
            if (entry := self.peek(key)) is not None:
                self.uses.add([key, *entry.record.links])
                for used in (key, *entry.record.links):
                    os.utime(self.folder / "entries" / used)
        return entry

    def make(
        self,
        key: str,
        outputs: tuple[str, ...],
        fill: Callable[[Path], None],
        note: Callable[[str], None],
        *,
        verify: bool = False,
    ) -> tuple[Entry, bool]:
        """Return the entry of a key, and whether it was made now.

        Args:
            key: hex sha256 of everything that decides the outputs.
            outputs: names of files and folders; anything else in the folder is removed at the end.
            fill: writes them into a folder, where a killed attempt may have left work. Only one
                process at a time makes a key.
            note: receives a line if another process is making it, or if it is damaged.
            verify: read what is there before it is used: for files that are never copied.
        """
        with self._locked(key, note):
            entry = self.find(key)
            if entry is not None and verify and (damaged := entry.damaged()):
                note(f"warning: {damaged}: damaged; removed from the cache")
                entry = None
            if entry is not None:
                return entry, False
            work = self.work(key)
            with self.uses.guarded():  # from here on nobody removes it
                self.uses.add([key])
                work.mkdir(parents=True, exist_ok=True)
                os.utime(work)
            for half_written in work.rglob(".*.tmp"):  # left by a kill; it would become an output
                half_written.unlink()
            before = self._begin(key, work)
            started = time.monotonic()
            fill(work)
            seconds = round(before + time.monotonic() - started, 2)
            entry = self._finish(key, work, outputs, seconds)
        self.trim()
        return entry, True

    def remove(self, key: str) -> None:
        """Remove an entry: first from sight, then from the disk. Call it in `guarded`."""
        gone = self.folder / "work" / f".removed-{key}-{os.getpid()}"
        gone.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            (self.folder / "entries" / key).replace(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def entries(self) -> list[Entry]:
        """Return all whole entries, the least recently used first."""
        found = [entries.load(path) for path in _below(self.folder / "entries")]
        whole = [entry for entry in found if entry is not None]
        return sorted(whole, key=lambda entry: (entry.last_used, entry.key))

    def trim(self) -> None:
        """Remove what is beyond the limit, the least recently used first, and stale work."""
        if not self.folder.is_dir():
            return
        with self.uses.guarded():
            used = self.uses.keys()
            self._remove_left_over(used, _WORK_KEPT_S)
            self._remove_incomplete(used)
            if self.limit_bytes is None:
                return
            found = self.entries()
            over = sum(entry.size_bytes for entry in found) - self.limit_bytes
            for entry in found:
                if over > 0 and entry.key not in used:
                    over -= entry.size_bytes
                    self.remove(entry.key)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Remove every entry but these, what they link to, and what live runs use."""
        if not self.folder.is_dir():
            return
        wanted = set(keys)
        with self.uses.guarded():
            kept, found = wanted | self.uses.keys(), self.entries()
            kept.update(link for entry in found if entry.key in kept for link in entry.record.links)
            for entry in found:
                if entry.key not in kept:
                    self.remove(entry.key)

    def clear(self) -> int:
        """Remove everything that no live run uses; return how many bytes that were."""
        if not self.folder.is_dir():
            return 0
        freed = 0
        with self.uses.guarded():
            used = self.uses.keys()
            for entry in self.entries():
                if entry.key not in used:
                    freed += entry.size_bytes
                    self.remove(entry.key)
            self._remove_left_over(used, 0)
            self._remove_incomplete(used)
        return freed

    def close(self) -> None:
        """End the protection of what this run used, and keep to the limit."""
        self.uses.release()
        self.trim()

    def _begun(self, key: str) -> Path:
        return self.folder / "locks" / f"{key}.begun"

    def _begin(self, key: str, work: Path) -> float:
        """Note that an attempt begins; return how long earlier ones took for what they left."""
        killed, before = records.read(self._begun(key), _Attempt), 0.0
        written = [path.stat().st_mtime for path in work.rglob("*") if path.is_file()]
        if killed is not None and written:
            before = killed.before + max(0.0, max(written) - killed.begun)
        records.write(self._begun(key), _Attempt(time.time(), before))
        return before

    def _finish(self, key: str, work: Path, outputs: tuple[str, ...], seconds: float) -> Entry:
        for path in work.iterdir():
            if path.name not in outputs:  # parts, checkpoints
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        record = entries.write_record(work, self.folder / "entries", seconds)
        folder = self.folder / "entries" / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self.uses.guarded():
            self.remove(key)  # damaged, or a link of it leads nowhere
            work.replace(folder)
            self._begun(key).unlink(missing_ok=True)
            self.uses.add(record.links)
        return Entry(key, folder, record)

    @contextmanager
    def _locked(self, key: str, note: Callable[[str], None]) -> Iterator[None]:
        path = self.folder / "locks" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, is_singleton=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            note("another run is making the same files; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _remove_left_over(self, used: set[str], kept_s: float) -> None:
        """Remove work that killed processes left, and what versions before this one kept here.

        A folder in which nothing was made yet is of no use to the next attempt.
        """
        for path in _below(self.folder / "work"):
            with suppress(FileNotFoundError):
                old = time.time() - path.stat().st_mtime >= kept_s
                empty = path.is_dir() and not any(path.iterdir())
                if path.name not in used and (old or empty):
                    shutil.rmtree(path, ignore_errors=True)
        for path in _below(self.folder / "locks"):
            with suppress(FileNotFoundError):
                if path.stem not in used and time.time() - path.stat().st_mtime >= _WORK_KEPT_S:
                    _unlink_free(path)
        for path in _below(self.folder):
            if _OF_OLD_VERSIONS.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _remove_incomplete(self, used: set[str]) -> None:
        """Remove entries that lack a file or that cannot be read: nobody can use them."""
        for path in _below(self.folder / "entries"):
            if path.name not in used and entries.load(path) is None:
                self.remove(path.name)


def _unlink_free(path: Path) -> None:
    """Remove a file of `locks` that nobody holds."""
    lock = FileLock(path, is_singleton=False)
    with suppress(Timeout):
        lock.acquire(timeout=0)
        path.unlink(missing_ok=True)
        lock.release()


def _below(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
