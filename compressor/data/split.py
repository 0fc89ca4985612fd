"""Which images are learnt from, which choose the best checkpoint, which are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from compressor.data.labels import UNLABELLED

if TYPE_CHECKING:
    from compressor.data.dataset import Photo

Split = Literal["train", "validation", "holdout"]


def cut(
    photos: Sequence[Photo],
    holdout: float | None,
    validation: float,
    seed: int,
    *,
    stratified: bool,
) -> list[Photo]:
    """Cut the train part into three.

    Pixels decide, not names nor their order: new images move none from part to part.

    Args:
        photos: those of the parts `train` and, where it is a folder of its own, `holdout`.
        holdout: share to hold out; None where that is a folder.
        validation: share of the rest for choosing the best checkpoint.
        seed: another seed is another cut.
        stratified: class by class.
    """
    if holdout is not None:
        photos = _move(photos, (holdout, "holdout"), seed, stratified=stratified)
    return _move(photos, (validation, "validation"), seed, stratified=stratified)


def _move(
    photos: Sequence[Photo], part: tuple[float, Split], seed: int, *, stratified: bool
) -> list[Photo]:
    """Move a share of the train part, class by class if stratified, to another part."""
    share, to = part
    groups: dict[int, list[str]] = {}
    for photo in photos:
        if photo.split == "train":
            group = photo.label if stratified else UNLABELLED
            groups.setdefault(group, []).append(photo.pixels_sha256)
    counts = {group: len(keys) for group, keys in groups.items()}
    taken = set()
    for group, number in share_out(counts, share).items():
        taken |= set(sorted(groups[group], key=lambda key: _rank(key, to, seed))[:number])
    return [
        replace(photo, split=to)
        if photo.split == "train" and photo.pixels_sha256 in taken
        else photo
        for photo in photos
    ]


def share_out(counts: Mapping[int, int], share: float) -> dict[int, int]:
    """How many of each class to take so that all together are `share`, rounded.

    Largest remainders decide the rounding; every class keeps at least one. No class gives more
    than one beyond its own share, so where many classes have one image, fewer are taken in all.
    """
    exact = {label: share * count for label, count in counts.items()}
    taken = {label: min(int(exact[label]), counts[label] - 1) for label in counts}
    wanted = round(share * sum(counts.values()))
    by_remainder = sorted(counts, key=lambda label: (taken[label] - exact[label], label))
    for label in by_remainder:
        if sum(taken.values()) < wanted and taken[label] < counts[label] - 1:
            taken[label] += 1
    return taken


def _rank(key: str, to: Split, seed: int) -> str:
    return hashlib.sha256(f"{seed} {to} {key}".encode()).hexdigest()
