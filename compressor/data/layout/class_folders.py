"""Which level of folders names the classes of images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compressor.data.layout.class_counts import ClassCount, count, described
from compressor.data.layout.split_folders import Folders

_SAYS_NOTHING = re.compile(
    r"(images?|imgs?|photos?|pictures?|data|raw|jpe?gs?|pngs?|originals?|frames?|session|set|part|"
    r"batch|folder|dir|day|new|old)?[-_ ]?\d*([-_.]\d+)*",
    re.IGNORECASE,
)
"""Names of folders that seldom are classes: img, raw, 2024-05-01, session3."""


@dataclass(frozen=True)
class Level:
    """A level of folders, and the classes that it would give."""

    number: int
    """1: the folders directly below the images folder, folders of a split not counted."""
    counts: Mapping[str, ClassCount]
    """Images of each class."""

    def __str__(self) -> str:
        """Say what it would give: `data.class_level: 2 gives 5 classes: cat 20, dog 20, ...`."""
        return f"data.class_level: {self.number} gives {described(self.counts)}"


def class_name(folder: str) -> str:
    """Return the class of a folder: composed characters, so that a Mac's folder is the same one."""
    return unicodedata.normalize("NFC", folder)


def levels_of(images: Sequence[Folders]) -> list[Level]:
    """Return the levels of folders that could name the classes, uppermost first.

    A level is one if it has two names or more, and if every image has it that lies in a folder.
    Folders around all of them, as archives have them, are no level.

    Args:
        images: the folders around each image, those of a split left out.
    """
    inside = [folders for folders in images if folders]
    common = _common(inside)
    deeper = [folders for folders in inside if len(folders) > common]
    shallowest = min(map(len, deeper), default=0)
    levels = (
        Level(level + 1, count((class_name(folders[level]), False) for folders in deeper))
        for level in range(common, shallowest)
    )
    return [level for level in levels if len(level.counts) > 1]


def proposed(levels: Sequence[Level], images: Sequence[Folders]) -> Level:
    """Return the level that is most likely meant: the deepest that divides the one above it.

    A level whose names lie below several folders of the level above does not divide it; of two
    such levels the one is taken whose names say more than `img` or `2024`.

    Args:
        levels: one or more, uppermost first.
        images: as for `levels_of`.
    """
    best = levels[0]
    for level in levels[1:]:
        at, above = level.number - 1, best.number - 1
        pairs = {(folders[at], folders[above]) for folders in images if len(folders) > at}
        divides = len(pairs) == len({name for name, _ in pairs})
        if _says_something(level) and (divides or not _says_something(best)):
            best = level
    return best


def _common(images: Sequence[Folders]) -> int:
    """How many folders all images share, from the uppermost."""
    if not images:
        return 0
    first, last = min(images), max(images)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return shared


def _says_something(level: Level) -> bool:
    return any(_SAYS_NOTHING.fullmatch(name) is None for name in level.counts)
