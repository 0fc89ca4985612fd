"""How much memory the decoders of all threads may use together."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ROOM_BYTES = 512_000_000
_MUCH = 64_000_000
"""From here on freed memory is given back to the system: glibc keeps it for each thread, and twelve
threads that decoded 353 MB one after the other kept 5.3 GB (0.5 GB so)."""


class Room:
    """So many bytes, shared by threads; who wants more than there are waits until it is alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._reset()

    def _reset(self) -> None:
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Take so many bytes, as soon as they are free, and give them back in the end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + wanted <= self._size)
            self._used += wanted
        try:
            yield
        finally:
            if wanted > _MUCH:
                _give_back()
            with self._changed:
                self._used -= wanted
                self._changed.notify_all()


def _give_back() -> None:
    """Give freed memory back to the system; other C libraries than glibc are left alone."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


ROOM = Room(ROOM_BYTES)
"""The room of this process."""
if hasattr(os, "register_at_fork"):  # a worker process begins with none of its parent's threads
    os.register_at_fork(after_in_child=ROOM._reset)
