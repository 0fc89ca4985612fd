"""How much disk the large files of a run may take where the recipe leaves it open."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

from compressor.pipeline.storage.store import Store

_LEAST_GB = 0.001


@dataclass(frozen=True)
class Room:
    """The disk that a store lies on."""

    folder: Path
    free: int
    """Bytes."""
    kept: int
    """Bytes that the store holds: a run takes them up again, or they make room for its own."""

    @property
    def bytes(self) -> int:
        """What is free, and what the store holds."""
        return self.free + self.kept

    @property
    def disk_gb(self) -> float:
        """A limit for a run, in 10^9 bytes, in steps of 1, 2 and 5.

        A third of the room, at most half of what is free. What the run stores then leaves both as
        they were, so that a second run on the same images is given the same limit.
        """
        return _rounded_down(min(self.bytes / 3, self.free / 2) / 1e9)


def room_of(store: Store) -> Room:
    """Return the room of a store, whose folder may not be there yet. Touches nothing."""
    kept = sum(entry.size_bytes for entry in store.entries())
    return Room(store.folder, free_bytes(store.folder), kept)


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the disk that a folder is on, or will be on."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _rounded_down(number: float) -> float:
    """Return the largest of ... 0.1, 0.2, 0.5, 1, 2, 5, 10 ... that is not above a number."""
    exact = Decimal(max(number, _LEAST_GB))
    power = Decimal(1).scaleb(exact.adjusted())
    digit = (exact / power).to_integral_value(ROUND_FLOOR)
    return float(max(step for step in (1, 2, 5) if step <= digit) * power)
