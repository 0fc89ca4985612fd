"""Writes all label files of a selection, with what the images to label cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compressor.selection.coverage import coverage
from compressor.selection.handoff import files, page
from compressor.selection.handoff.label_sheet import LabelSheet
from compressor.selection.handoff.page import Origin, SelectionCoverage
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space, blocks
from runtime.arrays import Floats
from runtime.progress import Track, silent

_FEWEST, _MOST, _DISTANCES = 1_000, 20_000, 100_000_000
"""Images that the curve of coverage by rank is measured on: fewer, the more labels there are, so
that it takes seconds."""


def write_label_files(
    sheet: LabelSheet,
    plan: LabelPlan,
    embeddings: Floats,
    origin: Origin,
    *,
    track: Track = silent,
) -> Path | None:
    """Write to_label.csv and, where images still need a label, to_label.json and to_label.html.

    Args:
        sheet: the rows to write.
        plan: the current plan, see `state.load`.
        embeddings: [N, D] of the pool.
        origin: where the page is and which images it shows; the other files are beside it.
        track: shows the progress.

    Returns:
        Where the to_label.csv before is kept, if it had labels that the new one lacks.

    Raises:
        InputError: the to_label.csv before cannot be read, or an image was moved or changed.
    """
    folder = origin.path.parent
    kept = files.write_csv(sheet, folder / files.CSV)
    origin.copy(row.image for row in sheet.to_label)
    files.write_tasks(sheet, origin.folder, folder / files.TASKS)
    if sheet.to_label:
        selected = measure_coverage(plan, embeddings) if sheet.open else None
        page.write(sheet, selected, origin, track=track)
    else:
        origin.path.unlink(missing_ok=True)  # an old page would ask for labels that exist
    return kept


def measure_coverage(plan: LabelPlan, embeddings: Floats) -> SelectionCoverage:
    """Measure what the images to label cover, together and in rank order: embeddings [N, D]."""
    whole = coverage(plan, embeddings)
    space = Space.cosine(embeddings)
    sample = np.arange(len(space))
    most = max(_FEWEST, min(_MOST, _DISTANCES // max(1, len(plan.settled))))
    if len(sample) > most:
        sample = np.random.default_rng(0).choice(sample, most, replace=False)
    nearest = np.full(len(sample), np.inf, np.float32)  # distance to the nearest label so far
    for block in blocks(len(plan.settled), len(sample)):
        nearest = np.minimum(nearest, space.between(sample, plan.settled[block]).min(axis=1))
    by_rank = []
    for row in plan.chosen:
        nearest = np.minimum(nearest, space.between(sample, np.array([row]))[:, 0])
        by_rank.append(float((nearest <= whole.radius).mean()))
    return SelectionCoverage(plan, whole, tuple(by_rank))
