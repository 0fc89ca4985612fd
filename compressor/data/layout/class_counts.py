"""How many images each class has, in sentences that show a mistake at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

_SHOWN = 30


class ClassCount(Struct, frozen=True):
    """Images of one class."""

    train: int
    """Also those that choose the best checkpoint."""
    holdout: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.train + self.holdout


def count(images: Iterable[tuple[str, bool]]) -> dict[str, ClassCount]:
    """Count images, each given as its class and whether it is held out; classes are sorted."""
    counts: dict[str, list[int]] = {}
    for name, held in images:
        counts.setdefault(name, [0, 0])[held] += 1
    return {name: ClassCount(*counts[name]) for name in sorted(counts)}


def described(counts: Mapping[str, ClassCount], *, apart: bool = False) -> str:
    """Return the number of classes and what `listed` returns."""
    if not counts:
        return "no class"
    how = " (to train on + held out)" if apart else ""
    kinds = "class" if len(counts) == 1 else "classes"
    return f"{len(counts)} {kinds}{how}: {listed(counts, apart=apart)}"


def listed(counts: Mapping[str, ClassCount], *, apart: bool = False) -> str:
    """Return the images of each class; of very many classes, of the smallest.

    Args:
        counts: images of each class.
        apart: whether to show held-out images apart.
    """
    rarest = sorted(counts, key=lambda name: (counts[name].total, name))[:_SHOWN]
    each = ", ".join(
        f"{name} {counts[name].train} + {counts[name].holdout}"
        if apart
        else f"{name} {counts[name].total}"
        for name in sorted(rarest)
    )
    more = len(counts) - len(rarest)
    return f"{each} and {more} more classes" if more else each


def doubts(counts: Mapping[str, ClassCount], *, apart: bool = False) -> list[str]:
    """Return what is odd about classes: names that may mean the same, classes on one side only."""
    alike: dict[str, list[str]] = {}
    for name in counts:
        alike.setdefault("".join(name.casefold().split()), []).append(name)
    lines = [
        f"classes that differ only in case or spaces: {', '.join(names)}"
        for names in alike.values()
        if len(names) > 1
    ]
    if apart:
        untrained = [name for name, each in counts.items() if not each.train]
        untested = [name for name, each in counts.items() if not each.holdout]
        if untrained and len(untrained) < len(counts):
            lines.append(f"classes without an image to train on: {', '.join(untrained)}")
        if untested and len(untested) < len(counts):
            lines.append(f"classes without a held-out image: {', '.join(untested)}")
    return lines
