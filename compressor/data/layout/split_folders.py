"""Folders such as train/ and val/ that divide a set of images: a split, not classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Part = Literal["train", "holdout"]
Folders = tuple[str, ...]
"""The names of the folders around an image, below the images folder."""

_TRAIN = ("training", "train", "trainset", "trainingset")
_HELD_OUT = (
    "validation", "valid", "val", "valset", "testing", "test", "testset", "holdout", "heldout",
    "eval", "evaluation", "dev",
)  # fmt: skip
_UNSURE_ALONE = ("valid", "eval", "evaluation", "dev", "testing")
"""Words that may well name a class, if no folder for training is beside them."""
_SAYS_NOTHING = {"set", "data", "dataset", "split", "images", "image", "imgs", "img", "photos"}


@dataclass(frozen=True)
class PartName:
    """A folder name that names a part of a split, such as `seg_train` or `val2017`."""

    part: Part
    word: str
    rest: Folders
    """The other words of the name, without numbers: names of one split have the same."""


@dataclass(frozen=True)
class Split:
    """A level of folders that divides the images."""

    level: int
    """Place of the name in the folders around an image, from 0."""
    names: tuple[tuple[str, Part], ...]
    """The folder names with their parts."""


@dataclass(frozen=True)
class Doubt:
    """Folders that look like a split, but not all of them."""

    text: str


def part_of(name: str) -> PartName | None:
    """Read a folder's name as a part of a split, whatever the case of its letters."""
    plain = unicodedata.normalize("NFC", name).casefold()
    words = re.findall(r"[^\W\d_]+", re.sub("(held|hold)[-_ ]out", "holdout", plain))
    named = [word for word in words if word in _TRAIN or word in _HELD_OUT]
    if len(named) != 1:
        return None
    rest = tuple(word for word in words if word != named[0] and word not in _SAYS_NOTHING)
    return PartName("train" if named[0] in _TRAIN else "holdout", named[0], rest)


def find_split(images: Sequence[Folders]) -> Split | Doubt | None:
    """Find the uppermost level of folders whose names all are parts of one split.

    Args:
        images: the folders around each image; an image above the level belongs to no part.

    Returns:
        The split; a doubt if only some folders look like one; None if none does.
    """
    for level in range(max(map(len, images), default=0)):
        found = _at(level, images)
        if found is not None:
            return found
    return None


def _at(level: int, images: Sequence[Folders]) -> Split | Doubt | None:
    groups: dict[Folders, set[str]] = {}
    for folders in images:
        if len(folders) > level:
            groups.setdefault(folders[:level], set()).add(folders[level])
    names = sorted(set().union(*groups.values()))
    parts = {name: part for name in names if (part := part_of(name)) is not None}
    if not parts:
        return None
    others = [name for name in names if name not in parts]
    kinds = {part.part for part in parts.values()}
    if not others and len(kinds) == 2 and len({part.rest for part in parts.values()}) == 1:
        return Split(level, tuple((name, part.part) for name, part in parts.items()))
    above_all = len(groups) == 1
    doubts = (_doubt_among(siblings, above_all=above_all) for siblings in groups.values())
    text = next(filter(None, doubts), None)
    return None if text is None else Doubt(text)


def _doubt_among(siblings: Iterable[str], *, above_all: bool) -> str | None:
    """Say what is unclear about folders beside each other, if anything is.

    Args:
        siblings: their names.
        above_all: whether all images lie below them.
    """
    names = sorted(siblings)
    parts = {name: part for name in names if (part := part_of(name)) is not None}
    others = [name for name in names if name not in parts]
    kinds = {part.part for part in parts.values()}
    if len(kinds) == 2 and others:
        return f"{_listed(parts)} look like a split, but {_listed(others)} stand beside them"
    if len(kinds) == 2 and len({part.rest for part in parts.values()}) > 1:
        return f"{_listed(parts)} look like classes and a split in one name"
    sure = [name for name, part in parts.items() if part.word not in _UNSURE_ALONE]
    if above_all and kinds == {"holdout"} and sure and len(names) > 1:
        return f"{_listed(sure)} look like held-out images, but no folder for training is there"
    return None


def _listed(names: Iterable[str]) -> str:
    shown = [f"{name}/" for name in names]
    more = [f"{len(shown) - 4} more"] if len(shown) > 5 else []
    shown = [*shown[: 4 if more else 5], *more]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
