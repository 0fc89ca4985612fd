"""The seam where a progress bar plugs in: library code never draws one itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Pass items on, and tell whoever watches how far it is."""

    def __call__(self, items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
        """Yield every item of `items`."""
        ...


def silent(items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """Show no progress."""
    yield from items
