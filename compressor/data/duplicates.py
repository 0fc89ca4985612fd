"""Images that are in a set twice: copies with the same pixels, and shrunken copies."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from compressor.data.dataset import ImageRecord
from compressor.data.image_files import SIDE, DecodedInfo
from compressor.data.layout.labels import UNLABELLED
from runtime.images.image_file import ImageFile, ImageRoot

logger = logging.getLogger(__name__)

COPY_DISTANCE = 0.15
"""Largest distance of the thumbprints of an image and its shrunken copy, as a share of the image's
contrast. Copies with a longer side of 64 to 200 px, saved as JPEG of quality 50 to 90, came to 0.13
at most (bilinear, bicubic, Lanczos; at 48 px 99 % to 0.16); of 3,600 images of Imagenette, TrashNet
and flowers, no two that are not the same came nearer than 0.229 (docs/decisions/data.md)."""
_BRIGHTNESS = 3.0
"""Grey levels that the means of the two may differ by (seen: 2.9)."""
_FLATTEST = 4.0
"""Grey levels: with a smaller standard deviation an image shows nothing to recognise it by."""


@dataclass(frozen=True)
class Duplicate:
    """An image that is another one again, which is used instead."""

    id: str
    twin: str
    why: Literal["same pixels", "shrunken copy"] = "same pixels"


def set_aside(
    records: Iterable[ImageRecord],
    looks: Mapping[str, DecodedInfo],
    root: ImageRoot,
    *,
    last: Container[str] = (),
) -> tuple[list[ImageRecord], tuple[Duplicate, ...]]:
    """Keep one image of each set of copies: the largest, a training image, no link, first by id.

    Labels do not decide which one is kept. It gets the first label that one of the set has.

    Args:
        records: usable images.
        looks: what decoding showed of each image, by its id.
        root: finds the file of each.
        last: ids of images that are kept only if they are copies of no other one, however large.
    """
    in_order = sorted(
        records,
        key=lambda each: (
            each.id in last,
            each.split == "holdout",
            _is_link(root / each.id),
            each.id,
        ),
    )
    twins, first = dict[str, str](), dict[str, str]()
    for record in in_order:
        same = first.setdefault(record.pixels_sha256, record.id)
        if same != record.id:
            twins[record.id] = same
    kept = [record for record in in_order if record.id not in twins]
    own = [record for record in kept if record.id not in last]
    shrunken = _shrunken(own, looks)
    if len(own) < len(kept):
        for small, large in _shrunken(kept, looks).items():
            if small in last:
                shrunken[small] = large
            elif large in last:
                shrunken[large] = small
    by_id = {record.id: record for record in kept}
    duplicates = []
    for record in in_order:
        twin = twins.get(record.id) or shrunken.get(record.id)
        if twin is None:
            continue
        while twin in shrunken:
            twin = shrunken[twin]
        is_small = record.id in shrunken or twins[record.id] in shrunken
        duplicates.append(
            Duplicate(record.id, twin, "shrunken copy" if is_small else "same pixels")
        )
        label = by_id[twin].label
        if label == UNLABELLED:
            by_id[twin] = replace(by_id[twin], label=record.label)
        elif record.label not in (UNLABELLED, label):
            what = "a shrunken copy" if is_small else "same pixels"
            logger.warning("%s, two classes: %s and %s", what, record.id, twin)
    used = (by_id[record.id] for record in kept if record.id not in shrunken)
    return sorted(used, key=lambda each: each.id), tuple(duplicates)


def _is_link(file: ImageFile) -> bool:
    return isinstance(file, Path) and file.is_symlink()


def _shrunken(records: Sequence[ImageRecord], looks: Mapping[str, DecodedInfo]) -> dict[str, str]:
    """Return the images that are shrunken copies of larger ones, each with the largest such.

    Images of one size are never copies of each other here: a series of photographs from one place
    may differ as little as a saved copy does.
    """
    sizes = np.array([(record.width, record.height) for record in records], np.int64).reshape(-1, 2)
    if len(np.unique(sizes, axis=0)) < 2:
        return {}
    thumbprints = b"".join(looks[record.id].thumbprint for record in records)
    prints = np.frombuffer(thumbprints, np.uint8).reshape(len(records), -1).astype(np.float32)
    means, contrasts = prints.mean(axis=1), prints.std(axis=1)
    by_mean = np.argsort(means, kind="stable")
    sorted_means = means[by_mean]
    found = {}
    for row in np.flatnonzero((contrasts >= _FLATTEST) & (sizes.min(axis=1) >= SIDE)).tolist():
        low, high = np.searchsorted(
            sorted_means, (means[row] - _BRIGHTNESS, means[row] + _BRIGHTNESS)
        )
        others = by_mean[low:high]
        (width, height), (widths, heights) = sizes[row], sizes[others].T
        larger = (widths >= width) & (heights >= height) & (widths * heights > width * height)
        # Both sides of a shrunken image are rounded to whole pixels.
        same_shape = np.abs(widths * height - heights * width) <= widths + heights
        others = others[larger & same_shape]
        apart = np.sqrt(((prints[others] - prints[row]) ** 2).mean(axis=1))
        copies = others[apart <= COPY_DISTANCE * np.maximum(contrasts[others], _FLATTEST)]
        if len(copies):
            areas = sizes[copies].prod(axis=1)
            found[records[row].id] = records[int(copies[areas == areas.max()].min())].id
    return found
