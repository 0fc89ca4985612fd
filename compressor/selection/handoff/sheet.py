"""What a person is asked, image by image: the rows behind to_label.csv, its page and its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compressor.data.dataset import ImageSet
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space
from compressor.selection.state import Standing
from runtime.arrays import Floats


@dataclass(frozen=True)
class Row:
    """One image that was proposed."""

    rank: int
    """1, 2, ... in the order proposed, for good: asking for more goes on behind the last."""
    image: str
    """Its id: the path relative to data.images."""
    label: str
    """Its class, or nothing yet."""
    open: bool
    """Whether data.labels does not have it: a label may have been typed and not handed back."""
    stands_for: int
    """Images of which it is the nearest that is labelled or proposed; counts itself."""
    nearest_chosen: str
    """The most similar image with a label or a lower rank; nothing for the first of all."""
    similarity: float
    """The cosine to that one."""

    @property
    def cluster(self) -> int:
        """Number of the images that it stands for: the rank of the image they are nearest to."""
        return self.rank


@dataclass(frozen=True)
class Sheet:
    """All images that were proposed, and the labels of all others."""

    rows: tuple[Row, ...]
    others: Mapping[str, str]
    """Labels of images that were not proposed, held-out ones too: a file with them is complete."""

    @property
    def open(self) -> tuple[Row, ...]:
        """What is still to label."""
        return tuple(row for row in self.rows if row.open)


def sheet(
    now: Standing,
    plan: LabelPlan,
    everything: ImageSet,
    embeddings: Floats,
    typed: Mapping[str, str],
) -> Sheet:
    """Lay out what is asked and what is known.

    Args:
        now: what was proposed.
        plan: what each of the images in the pool is nearest to.
        everything: all images with their labels, held-out ones too.
        embeddings: [N, D] of the pool.
        typed: labels by image id that stand in an earlier to_label.csv and nowhere else yet.
    """
    photos = now.pool.records
    given = {
        photo.id: everything.classes[photo.label]
        for photo in everything.records
        if photo.label >= 0
    }
    labels = dict(typed) | given
    counts = np.bincount(plan.centre, minlength=len(photos))
    space = Space.cosine(embeddings)
    earlier = list(now.elsewhere)
    rows = []
    for rank, row in enumerate(now.proposed, 1):
        nearest, similarity = "", 0.0
        if earlier:
            apart = space.between(np.array([row]), np.array(earlier))[0]
            nearest = photos[earlier[int(apart.argmin())]].id
            similarity = 1 - float(apart.min())
        name = photos[row].id
        label, stands_for = labels.get(name, ""), int(counts[row])
        rows.append(Row(rank, name, label, name not in given, stands_for, nearest, similarity))
        earlier.append(row)
    proposed = {row.image for row in rows}
    others = {image: label for image, label in labels.items() if image not in proposed}
    return Sheet(tuple(rows), others)
