"""The store's folder and limit, from the environment; what `compressor cache` shows."""

from __future__ import annotations

import logging
import math
import os
import shutil
from datetime import datetime
from pathlib import Path

import msgspec

from compressor.pipeline.storage.store import Store
from runtime.errors import InputError
from runtime.files import DEVICE_CACHE, cache_folder, size_of
from runtime.text import amount

logger = logging.getLogger(__name__)

PRIVATE = ".store"
"""The folder of the store that a run has to itself, in the run's folder."""


def shared_store() -> Store:
    """Return the store that EDGE_COMPRESSOR_CACHE and EDGE_COMPRESSOR_CACHE_GB ask for.

    Raises:
        InputError: no number of GB; or no folder named, and no home to put one in.
    """
    limit = os.environ.get("EDGE_COMPRESSOR_CACHE_GB") or "20"
    try:
        limit_gb = float(limit)
    except ValueError:
        limit_gb = math.nan
    if not 0 <= limit_gb < math.inf:
        raise InputError(
            f"EDGE_COMPRESSOR_CACHE_GB is {limit!r}; expected a number of GB, such as 20, "
            "or 0 for no cache"
        )
    try:
        folder = cache_folder()
    except RuntimeError as error:
        raise InputError(
            "no home folder to put the cache in; name a folder in EDGE_COMPRESSOR_CACHE"
        ) from error
    return Store.at(folder, round(limit_gb * 1e9))


def private_store(run_folder: Path) -> Store:
    """Return the store of one run, in its folder."""
    return Store.at(run_folder / PRIVATE, None)


def store_for(run_folder: Path, *, writable: bool = True) -> Store:
    """Return the shared store; a private one if it is switched off or cannot be written to.

    With `writable=False` nothing is touched.
    """
    store = shared_store()
    if not store.limit_bytes:
        return private_store(run_folder)
    try:
        if not writable and not store.folder.exists():
            return store
        store.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(store.folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        if writable:
            with store.uses.guarded():  # a lock of another user may be refused
                pass
    except OSError as error:
        logger.warning(
            f"{store.folder}: cannot be used as a cache: {error.strerror}; this run keeps its "
            "files to itself. Name another folder in EDGE_COMPRESSOR_CACHE, or set "
            "EDGE_COMPRESSOR_CACHE_GB=0."
        )
        return private_store(run_folder)
    return store


class CacheState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is in the cache."""

    folder: str
    size_bytes: int
    limit_bytes: int
    entries: int
    oldest_use: str | None
    newest_use: str | None
    freed_bytes: int | None = None
    """If it was cleared."""


def examine(store: Store, *, clear: bool = False) -> CacheState:
    """Return what is in the store; with `clear`, after clearing it.

    Raises:
        InputError: its folder cannot be read or cleared.
    """
    try:
        freed = store.clear() + _clear_device_cache(store.folder) if clear else None
        entries = store.entries()
        if store.folder.exists() and not store.folder.is_dir():
            raise NotADirectoryError(20, "Not a directory")
    except OSError as error:
        raise InputError(
            f"{store.folder}: {error.strerror}. Name another folder in EDGE_COMPRESSOR_CACHE."
        ) from error
    used = [datetime.fromtimestamp(entry.last_used).astimezone() for entry in entries]
    return CacheState(
        folder=str(store.folder),
        size_bytes=sum(entry.size_bytes for entry in entries),
        limit_bytes=store.limit_bytes or 0,
        entries=len(entries),
        oldest_use=used[0].isoformat(timespec="seconds") if used else None,
        newest_use=used[-1].isoformat(timespec="seconds") if used else None,
        freed_bytes=freed,
    )


def _clear_device_cache(folder: Path) -> int:
    """Remove what files compiled as they were opened here; return how many bytes that were."""
    compiled = folder / DEVICE_CACHE
    if not compiled.is_dir():
        return 0
    freed = size_of(compiled)
    shutil.rmtree(compiled)
    return freed


def text(state: CacheState) -> str:
    """Return the state to read."""
    off = "and switched off by EDGE_COMPRESSOR_CACHE_GB"
    of = f"of {amount(state.limit_bytes)}" if state.limit_bytes else off
    uses = f", last used {state.oldest_use} (oldest) to {state.newest_use} (newest)"
    lines = [
        f"folder   {state.folder}",
        f"used     {amount(state.size_bytes)} {of}",
        f"entries  {state.entries}{uses if state.entries else ''}",
    ]
    if state.freed_bytes is not None:
        lines.append(f"freed    {amount(state.freed_bytes)}; finished runs keep their own copies")
    return "\n".join(lines)
