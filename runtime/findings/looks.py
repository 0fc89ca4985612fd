"""What is looked at rather than scored: confusions, maps, neighbours, scores of outliers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Outputs
from runtime.bundle.golden import Golden
from runtime.results.looks import Confusion, Counts, EmbeddingMaps, Histogram, Looks, Neighbours
from runtime.sampling import evenly

MOST_CLASSES = 20
"""Rows of a matrix that a page can show."""
MOST_POINTS = 400
NEAREST, SHOWN = 4, 6
_BINS = 24


def looks(
    golden: Golden, inside: Outputs, outside: Outputs | None, threshold: float | None
) -> Looks:
    """Return what there is to look at.

    Args:
        golden: the held-out images, with the answers of the teacher.
        inside: of the file to them.
        outside: of the file to the images that are not of the task.
        threshold: likeness under which an image is an outlier; None where none is told.
    """
    enough = len(golden.images) > NEAREST + 1
    return Looks(
        confusion=_confusion(golden, inside),
        maps=_maps(golden, inside) if enough else UNSET,
        neighbours=_neighbours(golden, inside) if enough else (),
        outliers=_outliers(golden, inside, outside, threshold),
    )


def _confusion(golden: Golden, inside: Outputs) -> Confusion | UnsetType:
    teacher, labels = golden.arrays.reference_logits, golden.arrays.labels
    known = labels >= 0
    if teacher is None or inside.logits is None or not known.any():
        return UNSET
    count = len(golden.classes)
    matrices = []
    for logits in (teacher, inside.logits):
        matrix = np.zeros((count, count), np.int64)
        np.add.at(matrix, (labels[known], logits[known].argmax(axis=1)), 1)
        matrices.append(matrix)
    errors = matrices[1].sum(axis=1) - np.diag(matrices[1])
    shown = np.sort(np.argsort(-errors, kind="stable")[:MOST_CLASSES])
    cells = np.ix_(shown, shown)
    return Confusion(
        classes=tuple(golden.classes[row] for row in shown),
        teacher=_counts(matrices[0][cells]),
        deployed=_counts(matrices[1][cells]),
        left_out=count - len(shown),
    )


def _counts(matrix: npt.NDArray[np.int64]) -> Counts:
    return tuple(tuple(int(cell) for cell in row) for row in matrix)


def _maps(golden: Golden, inside: Outputs) -> EmbeddingMaps:
    rows = evenly(len(golden.images), MOST_POINTS)
    teacher, of_teacher = _components(golden.arrays.teacher_embedding[rows])
    file, of_file = _components(inside.embedding[rows])
    left, _, right = np.linalg.svd(file.T @ teacher)
    file = file @ (left @ right)  # the best turn and mirror: axes and signs mean nothing
    return EmbeddingMaps(
        teacher=tuple((round(float(x), 3), round(float(y), 3)) for x, y in teacher),
        deployed=tuple((round(float(x), 3), round(float(y), 3)) for x, y in file),
        explained_teacher=of_teacher,
        explained_deployed=of_file,
        classes=golden.classes,
        labels=tuple(int(label) for label in golden.arrays.labels[rows]),
    )


def _components(embedding: Floats) -> tuple[npt.NDArray[np.float64], float]:
    """Return the first two principal components [N, 2] of directions, and their share."""
    unit = metrics.normalise(embedding).astype(np.float64)
    centred = unit - unit.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    placed = left[:, :2] * sizes[:2]
    share = float((sizes[:2] ** 2).sum() / max(float((sizes**2).sum()), 1e-12))
    return placed / max(float(np.abs(placed).max()), 1e-12), round(share, 3)


def _neighbours(golden: Golden, inside: Outputs) -> tuple[Neighbours, ...]:
    """Images whose neighbours differ most, and some between those and the others."""
    teacher, file = (_nearest(each) for each in (golden.arrays.teacher_embedding, inside.embedding))
    shared = np.array([len(np.intersect1d(*pair)) for pair in zip(teacher, file, strict=True)])
    order = np.argsort(shared, kind="stable")
    places = [0, 1, len(order) // 4, len(order) // 2, 3 * len(order) // 4, len(order) - 1]
    names = golden.images
    return tuple(
        Neighbours(
            image=names[row],
            teacher=tuple(names[each] for each in teacher[row]),
            deployed=tuple(names[each] for each in file[row]),
            shared=int(shared[row]),
        )
        for row in dict.fromkeys(int(order[place]) for place in places)
    )


def _nearest(embedding: Floats) -> npt.NDArray[np.int64]:
    """[N, NEAREST] rows of the nearest other images, the nearest first."""
    unit = metrics.normalise(embedding)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    found: npt.NDArray[np.int64] = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
    return found


def _outliers(
    golden: Golden, inside: Outputs, outside: Outputs | None, threshold: float | None
) -> tuple[Histogram, ...]:
    arrays = golden.arrays
    if arrays.outside is None or outside is None:
        return ()
    of_file = [metrics.ood_scores(each.embedding, arrays.bank) for each in (inside, outside)]
    told = UNSET if threshold is None else threshold
    return (
        _histogram("teacher", arrays.teacher_nearest, arrays.outside.teacher_nearest, UNSET),
        _histogram("deployed", of_file[0], of_file[1], told),
    )


def _histogram(
    stage: str, inside: Floats, outside: Floats, threshold: float | UnsetType
) -> Histogram:
    both = np.concatenate([inside, outside])
    low, high = float(both.min()), float(both.max())
    if high - low < 0.002:  # or rounding would leave nothing between them
        low, high = low - 0.01, high + 0.01
    counts = [np.histogram(each, _BINS, (low, high))[0] for each in (inside, outside)]
    return Histogram(
        stage=stage,
        low=round(low, 4),
        high=round(high, 4),
        inside=tuple(int(count) for count in counts[0]),
        outside=tuple(int(count) for count in counts[1]),
        threshold=threshold,
    )
