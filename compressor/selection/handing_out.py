"""From what was chosen to the files in a person's hands."""

from __future__ import annotations

import numpy as np

from compressor.selection import files, page
from compressor.selection.coverage import coverage
from compressor.selection.page import Cover, Origin
from compressor.selection.plan import Floats, LabelPlan
from compressor.selection.sheet import Sheet
from compressor.selection.space import Space
from runtime.progress import Track, silent

_MEASURED_ON = 20_000
"""The curve of what the first images cover is measured on so many images at most."""


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
    if len(seen) > _MEASURED_ON:
        seen = np.random.default_rng(0).choice(seen, _MEASURED_ON, replace=False)
    apart = np.full(len(seen), np.inf, np.float32)
    for row in plan.settled:
        apart = np.minimum(apart, space.between(seen, np.array([row]))[:, 0])
    reach = []
    for row in plan.chosen:
        apart = np.minimum(apart, space.between(seen, np.array([row]))[:, 0])
        reach.append(float((apart <= covered.radius).mean()))
    return Cover(plan, covered, tuple(reach))
