"""A folder of finished files that all runs share: what one has made, another need not make again.

An entry is one file, `KEY.SHA256`: the key says what it was made of, the checksum that it is whole.
A run's file and the entry are hard links to the same bytes where the disk can do that. So neither
may ever be written into. Our code does not: it renames a new file over the old one, which leaves
the entry as it was. Should something else do it, the checksum tells.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.files import replacing, sha256_of
from runtime.text import amount

logger = logging.getLogger(__name__)

_ENTRY = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{64})")
_LEFT_OVER = re.compile(rf"\.{_ENTRY.pattern}\.\d+\.tmp")
_LEFT_OVER_AFTER_S = 24 * 3600
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


@dataclass(frozen=True)
class Entry:
    """One file of the cache."""

    key: str
    sha256: str
    path: Path
    size_bytes: int
    last_used: float
    """Seconds since the epoch: the modification time, as every file system lets us set that."""


@dataclass(frozen=True)
class Cache:
    """Finished files by key; those not used for longest make room for new ones."""

    folder: Path
    limit_bytes: int
    """0: nothing is fetched and nothing kept."""

    @classmethod
    def from_environment(cls) -> Cache:
        """The cache that EDGE_COMPRESSOR_CACHE and EDGE_COMPRESSOR_CACHE_GB ask for.

        Raises:
            InputError: no number of GB; or no folder named, and no home to put one in.
        """
        limit = os.environ.get("EDGE_COMPRESSOR_CACHE_GB") or "20"
        named = os.environ.get("EDGE_COMPRESSOR_CACHE")
        try:
            limit_gb = float(limit)
        except ValueError:
            limit_gb = math.nan
        if not 0 <= limit_gb < math.inf:
            raise InputError(
                f"EDGE_COMPRESSOR_CACHE_GB is {limit!r}; a number of GB is wanted, such as 20, "
                "or 0 for no cache"
            )
        try:
            folder = Path(named) if named else _caches() / "edge-compressor"
        except RuntimeError as error:
            raise InputError(
                "no home folder to put the cache in; name a folder in EDGE_COMPRESSOR_CACHE"
            ) from error
        return cls(folder.absolute(), round(limit_gb * 1e9))

    def fetch(self, key: str, path: Path) -> bool:
        """Put the file kept under `key` at `path`, whole or not at all; whether it was there.

        A damaged entry is removed and was not there.
        """
        if not self.limit_bytes:
            return False
        try:
            for entry in self.entries():
                if entry.key == key and _is_whole(entry):
                    _place(entry.path, path)
                    return True
        except FileNotFoundError:  # removed by another process meanwhile
            return False
        except OSError as error:
            logger.warning("%s: cannot be used as a cache: %s", self.folder, error.strerror)
        return False

    def keep(self, key: str, path: Path) -> None:
        """Take in the finished file at `path`, then remove what is over the limit.

        A cache that cannot be written to is a warning: the run has its file and goes on.
        """
        if not self.limit_bytes:
            return
        size = path.stat().st_size
        if size > self.limit_bytes:
            logger.info(
                f"{path.name} ({amount(size)}) is not kept for other runs: it is larger than the "
                f"cache, to which EDGE_COMPRESSOR_CACHE_GB gives {amount(self.limit_bytes)}"
            )
            return
        try:
            self._remove_left_over()
            if any(entry.key == key for entry in self.entries()):
                return
            kept = self.folder / f"{key}.{sha256_of(path)}"
            if not _ENTRY.fullmatch(kept.name):
                raise ValueError(f"{key!r} is no hex sha256, so no key of the cache")
            _place(path, kept)
            self._make_room(kept)
        except OSError as error:
            logger.warning(
                f"{self.folder}: {error.strerror}; {path.name} is not kept for other runs. Name "
                "another folder in EDGE_COMPRESSOR_CACHE, or set EDGE_COMPRESSOR_CACHE_GB=0."
            )

    def entries(self) -> list[Entry]:
        """What is there, least recently used first. Other files in the folder are none of ours."""
        found = []
        with suppress(FileNotFoundError):  # nothing was kept yet
            for path in self.folder.iterdir():
                if name := _ENTRY.fullmatch(path.name):
                    with suppress(FileNotFoundError):  # removed by another process meanwhile
                        key, sha256, status = name[1], name[2], path.stat()
                        found.append(Entry(key, sha256, path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: (entry.last_used, entry.path))

    def clear(self) -> int:
        """Remove all entries; how many bytes the disk has got back.

        That is less than was there if folders of runs hold some of the files too.
        """
        freed = 0
        self._remove_left_over()
        for entry in self.entries():
            with suppress(FileNotFoundError):
                links = entry.path.stat().st_nlink
                entry.path.unlink()
                freed += entry.size_bytes if links == 1 else 0
        return freed

    def _make_room(self, kept: Path) -> None:
        entries = self.entries()
        over = sum(entry.size_bytes for entry in entries) - self.limit_bytes
        for entry in entries:
            if over > 0 and entry.path != kept:
                entry.path.unlink(missing_ok=True)
                over -= entry.size_bytes

    def _remove_left_over(self) -> None:
        """Remove what killed processes left a day ago.

        By the time of the inode's last change: a link has the modification time of its old file.
        """
        for path in filter(lambda path: _LEFT_OVER.fullmatch(path.name), self.folder.glob(".*")):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_ctime > _LEFT_OVER_AFTER_S:
                    path.unlink()


def examine(cache: Cache, *, clear: bool = False) -> dict[str, Any]:
    """Say what is in the cache; with `clear`, after clearing it.

    Raises:
        InputError: its folder cannot be read or cleared.
    """
    try:
        freed = {"freed_bytes": cache.clear()} if clear else {}
        entries = cache.entries()
    except OSError as error:
        raise InputError(
            f"{cache.folder}: {error.strerror}. Name another folder in EDGE_COMPRESSOR_CACHE."
        ) from error
    used = [datetime.fromtimestamp(entry.last_used).astimezone() for entry in entries]
    return {
        "folder": str(cache.folder),
        "size_bytes": sum(entry.size_bytes for entry in entries),
        "limit_bytes": cache.limit_bytes,
        "entries": len(entries),
        "oldest_use": used[0].isoformat(timespec="seconds") if used else None,
        "newest_use": used[-1].isoformat(timespec="seconds") if used else None,
        **freed,
    }


def text(found: dict[str, Any]) -> str:
    """The findings to read."""
    limit, count = found["limit_bytes"], found["entries"]
    of = f"of {amount(limit)}" if limit else "and switched off by EDGE_COMPRESSOR_CACHE_GB"
    uses = f", last used {found['oldest_use']} (oldest) to {found['newest_use']} (newest)"
    lines = [
        f"folder   {found['folder']}",
        f"used     {amount(found['size_bytes'])} {of}",
        f"entries  {count}{uses if count else ''}",
    ]
    if "freed_bytes" in found:
        freed = amount(found["freed_bytes"])
        lines.append(f"freed    {freed}; files that folders of runs hold too are still there")
    return "\n".join(lines)


def _caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _is_whole(entry: Entry) -> bool:
    if sha256_of(entry.path) == entry.sha256:
        return True
    logger.warning("%s: damaged; removed from the cache", entry.path)
    entry.path.unlink(missing_ok=True)
    return False


def _place(source: Path, path: Path) -> None:
    """Make `path` a hard link to `source`, or a copy of it where that cannot be; a use, now."""
    with suppress(OSError):  # a cache that can only be read serves as well
        os.utime(source)
    with replacing(path) as temporary:
        temporary.unlink(missing_ok=True)  # left by a killed process of the same number
        try:
            os.link(source.resolve(), temporary)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            # "x": to write into a file that is there after all could be to write into an entry.
            with source.open("rb") as old, temporary.open("xb") as new:
                shutil.copyfileobj(old, new, 1 << 20)
