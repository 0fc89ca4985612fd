"""What was proposed for labelling in a run, and how far the labelling is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressor.data.dataset import ImageSet
from compressor.selection.label_plan import LabelPlan
from runtime.arrays import Floats, Ints
from runtime.files import read_versioned, write_json

SCHEMA_VERSION = 1
_NAME, _ARRAYS = "selection.json", "selection.safetensors"
OUTPUTS = (_NAME, _ARRAYS)


@dataclass(frozen=True)
class Standing:
    """How far the labelling of some images is."""

    pool: ImageSet
    """The images that can be chosen: those that nothing is measured on."""
    proposed: Ints
    """[P] rows of the pool, in the order they were proposed."""

    @property
    def labelled(self) -> Ints:
        """[L] rows of the pool that have a label."""
        return np.flatnonzero(self.pool.labels >= 0)

    @property
    def settled(self) -> Ints:
        """[M] rows that are labelled or proposed, ascending."""
        return np.union1d(self.labelled, self.proposed)

    @property
    def open(self) -> Ints:
        """Rows proposed and not labelled yet, in the order they were proposed."""
        return self.proposed[self.pool.labels[self.proposed] < 0]

    @property
    def elsewhere(self) -> Ints:
        """Rows labelled without having been proposed."""
        return np.setdiff1d(self.labelled, self.proposed)


def standing(pool: ImageSet, folder: Path) -> Standing:
    """How far it is in the folder of a run; images that have gone since are left out."""
    row_of = {photo.id: row for row, photo in enumerate(pool.records)}
    rows = [row_of[name] for name in _proposed_in(folder) if name in row_of]
    return Standing(pool, np.array(rows, np.int64))


def _proposed_in(folder: Path) -> list[str]:
    path = folder / _NAME
    if not path.exists():
        return []
    document = read_versioned(path, newest=SCHEMA_VERSION, what="selection")
    return [each["image"] for each in document["proposed"]]


def save(now: Standing, plan: LabelPlan, folder: Path) -> None:
    """Write what was proposed before and what the plan adds, and the plan's arrays.

    Args:
        now: as it was when the plan was made.
        plan: what was chosen beyond.
        folder: where to.
    """
    from safetensors.numpy import save_file

    proposed = np.concatenate([now.proposed, plan.chosen])
    document = {
        "schema_version": SCHEMA_VERSION,
        "strategy": plan.strategy,
        "seed": plan.seed,
        "proposed": [{"image": now.pool.records[row].id} for row in proposed],
    }
    write_json(folder / _NAME, document)
    on_map = np.empty((0, 2), np.float32) if plan.map is None else plan.map
    save_file({"centre": plan.centre, "distance": plan.distance, "map": on_map}, folder / _ARRAYS)


def load(now: Standing, folder: Path) -> LabelPlan:
    """The plan as it stands: what is open counts as chosen, what has a label as settled."""
    from safetensors.numpy import load_file

    document = read_versioned(folder / _NAME, newest=SCHEMA_VERSION, what="selection")
    arrays = load_file(folder / _ARRAYS)
    on_map: Floats = arrays["map"]
    return LabelPlan(
        strategy=document["strategy"],
        seed=document["seed"],
        chosen=now.open,
        settled=now.labelled,
        centre=arrays["centre"],
        distance=arrays["distance"],
        map=on_map if len(on_map) else None,
    )
