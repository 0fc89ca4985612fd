"""From what was chosen to the files in a person's hands."""

from __future__ import annotations

import numpy as np

from compressor.selection.coverage import coverage
from compressor.selection.handoff import files, page
from compressor.selection.handoff.page import Cover, Origin
from compressor.selection.handoff.sheet import Sheet
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space, blocks
from runtime.arrays import Floats
from runtime.progress import Track, silent

_FEWEST, _MOST, _DISTANCES = 1_000, 20_000, 100_000_000
"""The curve of what the first images cover is measured on so many images: fewer, the more labels
there are, so that it takes seconds."""


def hand_out(
    sheet: Sheet, plan: LabelPlan, embeddings: Floats, origin: Origin, *, track: Track = silent
) -> None:
    """Write to_label.csv, and of what is still open to_label.json and to_label.html.

    Args:
        sheet: what is asked.
        plan: the plan as it stands, see `proposals.load`.
        embeddings: [N, D] of the pool.
        origin: whose page it is and where it lies; the other files lie beside it.
        track: shows the progress.
    """
    folder = origin.path.parent
    files.write_csv(sheet, folder / files.CSV)
    files.write_tasks(sheet, origin.root, folder / files.TASKS)
    if sheet.open:
        page.write(sheet, cover(plan, embeddings), origin, track=track)
    else:
        origin.path.unlink(missing_ok=True)  # it asks for labels that are there


def cover(plan: LabelPlan, embeddings: Floats) -> Cover:
    """What the open images cover, all together and one after the other: embeddings [N, D]."""
    covered = coverage(plan, embeddings)
    space = Space.cosine(embeddings)
    seen = np.arange(len(space))
    most = max(_FEWEST, min(_MOST, _DISTANCES // max(1, len(plan.settled))))
    if len(seen) > most:
        seen = np.random.default_rng(0).choice(seen, most, replace=False)
    apart = np.full(len(seen), np.inf, np.float32)
    for block in blocks(len(plan.settled), len(seen)):
        apart = np.minimum(apart, space.between(seen, plan.settled[block]).min(axis=1))
    reach = []
    for row in plan.chosen:
        apart = np.minimum(apart, space.between(seen, np.array([row]))[:, 0])
        reach.append(float((apart <= covered.radius).mean()))
    return Cover(plan, covered, tuple(reach))
