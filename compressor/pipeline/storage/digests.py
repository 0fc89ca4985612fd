"""Digests of JSON values and of files that rarely change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec

from runtime.files import sha256_of, write_text


def digest(document: object) -> str:
    """Return the hex sha256 of JSON values."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


class _Known(msgspec.Struct, frozen=True):
    size: int
    mtime_ns: int
    sha256: str


class FileDigests:
    """The sha256 of large files, such as weights: a file is read again only if it has changed."""

    def __init__(self, memory: Path) -> None:
        """Remember digests in the JSON file `memory`."""
        self._memory = memory
        self._known: dict[str, _Known] | None = None

    def of(self, path: Path, *, remember: bool) -> str:
        """Return the sha256 of a file; with `remember`, keep it for the next run."""
        status, name = path.stat(), str(path.absolute())
        known = self._load().get(name)
        if known is None or (known.size, known.mtime_ns) != (status.st_size, status.st_mtime_ns):
            known = _Known(status.st_size, status.st_mtime_ns, sha256_of(path))
            self._load()[name] = known
            if remember:
                write_text(self._memory, msgspec.json.encode(self._load()).decode())
        return known.sha256

    def _load(self) -> dict[str, _Known]:
        if self._known is None:
            try:
                content = self._memory.read_bytes()
                self._known = msgspec.json.decode(content, type=dict[str, _Known])
            except (
                OSError,
                msgspec.DecodeError,
                UnicodeDecodeError,
            ):  # not there yet, or damaged: it is only a memory
                self._known = {}
        return self._known
