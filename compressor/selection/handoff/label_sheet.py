"""The rows behind to_label.csv, its page and its tasks: which images to label, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compressor.data.dataset import ImageSet
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space
from compressor.selection.state import LabellingState
from runtime.arrays import Floats


@dataclass(frozen=True)
class Row:
    """One image that was proposed for labelling."""

    rank: int
    """1, 2, ... in the order proposed. It never changes: later proposals get higher ranks."""
    image: str
    """Its id: the path relative to data.images."""
    label: str
    """Its class, or the empty string."""
    open: bool
    """Whether data.labels lacks it; a label may stand in to_label.csv only."""
    stands_for: int
    """Images whose nearest labelled or proposed image this is; it counts itself."""
    nearest_chosen: str
    """The most similar image with a label or a lower rank; empty for the very first."""
    similarity: float
    """Cosine to that image."""
    held_out: bool = False
    """Whether it is one of those that accuracy is measured on; it stands for itself alone."""

    @property
    def cluster(self) -> int:
        """Number of its cluster: the images that it stands for."""
        return self.rank


@dataclass(frozen=True)
class LabelSheet:
    """All images that were proposed, and the labels of all others."""

    rows: tuple[Row, ...]
    others: Mapping[str, str]
    """Labels of images that were not proposed, held-out ones too: a file with them is complete."""
    held_out: tuple[Row, ...] = ()
    """Held-out images to measure accuracy on, at random; their ranks follow those of `rows`."""

    @property
    def open(self) -> tuple[Row, ...]:
        """Rows that still need a label."""
        return tuple(row for row in self.rows if row.open)

    @property
    def open_held_out(self) -> tuple[Row, ...]:
        """Held-out images that still need a label."""
        return tuple(row for row in self.held_out if row.open)

    @property
    def labels(self) -> dict[str, str]:
        """All labels by image id."""
        listed = {row.image: row.label for row in (*self.rows, *self.held_out) if row.label}
        return {**self.others, **listed}

    @property
    def to_label(self) -> tuple[Row, ...]:
        """All that still need a label, in the order of their ranks."""
        return self.open + self.open_held_out


def label_sheet(
    state: LabellingState,
    plan: LabelPlan,
    dataset: ImageSet,
    embeddings: Floats,
    typed: Mapping[str, str],
    measured: Sequence[str] = (),
) -> LabelSheet:
    """List the proposed images with their labels and neighbours.

    Args:
        state: what was proposed.
        plan: the nearest proposed or labelled image of each image in the pool.
        dataset: all images with their labels, held-out ones too.
        embeddings: [N, D] of the pool.
        typed: labels by image id that stand in an earlier to_label.csv and nowhere else yet.
        measured: ids of held-out images that accuracy is to be measured on.
    """
    records = state.pool.records
    given = {
        record.id: dataset.classes[record.label] for record in dataset.records if record.label >= 0
    }
    labels = dict(typed) | given
    counts = np.bincount(plan.centre, minlength=len(records))
    space = Space.cosine(embeddings)
    earlier = list(state.elsewhere)
    rows = []
    for rank, row in enumerate(state.proposed, 1):
        nearest, similarity = "", 0.0
        if earlier:
            distances = space.between(np.array([row]), np.array(earlier))[0]
            nearest = records[earlier[int(distances.argmin())]].id
            similarity = 1 - float(distances.min())
        image = records[row].id
        rows.append(
            Row(
                rank=rank,
                image=image,
                label=labels.get(image, ""),
                open=image not in given,
                stands_for=int(counts[row]),
                nearest_chosen=nearest,
                similarity=similarity,
            )
        )
        earlier.append(row)
    held_out = tuple(
        Row(rank, image, labels.get(image, ""), image not in given, 1, "", 0.0, held_out=True)
        for rank, image in enumerate(measured, len(rows) + 1)
    )
    listed = {row.image for row in (*rows, *held_out)}
    others = {image: label for image, label in labels.items() if image not in listed}
    return LabelSheet(tuple(rows), others, held_out)
