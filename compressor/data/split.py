"""The split of the images: for training, to choose the best checkpoint, held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from compressor.data.dataset import ImageRecord, Split
from compressor.data.layout.labels import UNLABELLED


def assign_splits(
    records: Sequence[ImageRecord],
    holdout: float | None,
    validation: float,
    seed: int,
    *,
    stratified: bool,
) -> list[ImageRecord]:
    """Divide the images of the train split into three splits.

    Pixels decide, not file names or their order. New images move few others.

    Args:
        records: images of the splits `train` and, where the held-out images have a folder of their
            own, `holdout`.
        holdout: the share to hold out; None where the held-out images have a folder of their own.
        validation: the share of the rest that chooses the best checkpoint.
        seed: another seed gives another split.
        stratified: split each class by itself.
    """
    if holdout is not None:
        records = _move(records, (holdout, "holdout"), seed, stratified=stratified)
    return _move(records, (validation, "validation"), seed, stratified=stratified)


def _move(
    records: Sequence[ImageRecord], part: tuple[float, Split], seed: int, *, stratified: bool
) -> list[ImageRecord]:
    """Move a share of the train split to another split."""
    share, target = part
    groups: dict[int, list[str]] = {}
    for record in records:
        if record.split == "train":
            group = record.label if stratified else UNLABELLED
            groups.setdefault(group, []).append(record.pixels_sha256)
    counts = {group: len(keys) for group, keys in groups.items()}
    moved = set()
    for group, count in apportion(counts, share).items():
        moved |= set(sorted(groups[group], key=lambda key: _rank(key, target, seed))[:count])
    return [
        replace(record, split=target)
        if record.split == "train" and record.pixels_sha256 in moved
        else record
        for record in records
    ]


def apportion(counts: Mapping[int, int], share: float) -> dict[int, int]:
    """How many images of each class to move so that the total is `share`, rounded.

    The largest remainders decide the rounding. Every class keeps at least one image, and moves at
    most one more than its own share; so with many classes of one image, fewer are moved in all.
    """
    exact = {label: share * count for label, count in counts.items()}
    moved = {label: min(int(exact[label]), counts[label] - 1) for label in counts}
    total = round(share * sum(counts.values()))
    by_remainder = sorted(counts, key=lambda label: (moved[label] - exact[label], label))
    for label in by_remainder:
        if sum(moved.values()) < total and moved[label] < counts[label] - 1:
            moved[label] += 1
    return moved


def _rank(key: str, target: Split, seed: int) -> str:
    return hashlib.sha256(f"{seed} {target} {key}".encode()).hexdigest()
