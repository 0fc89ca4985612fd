"""The state of labelling in a run: what was proposed, and what is labelled since."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct

from compressor.data.dataset import ImageSet
from compressor.selection.label_plan import LabelPlan
from runtime import documents
from runtime.arrays import Floats, Ints
from runtime.documents import Text
from runtime.files import write_json

SCHEMA_VERSION = 1
_NAME, _ARRAYS = "selection.json", "selection.safetensors"
OUTPUTS = (_NAME, _ARRAYS)


class Proposal(Struct, frozen=True, kw_only=True):
    """One image that was proposed for labelling."""

    image: Text
    """Its name below the folder of images."""


class SelectionDocument(Struct, frozen=True, kw_only=True):
    """selection.json: everything that was proposed, in order."""

    schema_version: int = SCHEMA_VERSION
    strategy: Text
    seed: int
    proposed: tuple[Proposal, ...]


@dataclass(frozen=True)
class LabellingState:
    """Which images of a pool were proposed for labelling, and which are labelled."""

    pool: ImageSet
    """The images that can be chosen: all but the held-out ones."""
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
        """[O] rows proposed and not labelled yet, in the order they were proposed."""
        return self.proposed[self.pool.labels[self.proposed] < 0]

    @property
    def elsewhere(self) -> Ints:
        """[E] rows labelled without having been proposed."""
        return np.setdiff1d(self.labelled, self.proposed)


def read(pool: ImageSet, folder: Path) -> LabellingState:
    """Read the state from the folder of a run, without images that were removed since."""
    row_of = {photo.id: row for row, photo in enumerate(pool.records)}
    rows = [row_of[name] for name in _proposed_in(folder) if name in row_of]
    return LabellingState(pool, np.array(rows, np.int64))


def _proposed_in(folder: Path) -> list[str]:
    path = folder / _NAME
    if not path.exists():
        return []
    return [proposal.image for proposal in _document(path).proposed]


def _document(path: Path) -> SelectionDocument:
    return documents.read(path, SelectionDocument, newest=SCHEMA_VERSION, what="selection")


def save(now: LabellingState, plan: LabelPlan, folder: Path) -> None:
    """Write everything that was proposed, with the plan's images last, and the plan's arrays.

    Args:
        now: the state when the plan was made.
        plan: the images chosen next.
        folder: where to write.
    """
    from safetensors.numpy import save_file

    proposed = np.concatenate([now.proposed, plan.chosen])
    document = SelectionDocument(
        strategy=plan.strategy,
        seed=plan.seed,
        proposed=tuple(Proposal(image=now.pool.records[row].id) for row in proposed),
    )
    write_json(folder / _NAME, documents.plain(document))
    on_map = np.empty((0, 2), np.float32) if plan.map is None else plan.map
    save_file({"centre": plan.centre, "distance": plan.distance, "map": on_map}, folder / _ARRAYS)


def load(now: LabellingState, folder: Path) -> LabelPlan:
    """Read the plan: proposed images without a label are `chosen`, labelled ones `settled`."""
    from safetensors.numpy import load_file

    document = _document(folder / _NAME)
    arrays = load_file(folder / _ARRAYS)
    on_map: Floats = arrays["map"]
    return LabelPlan(
        strategy=document.strategy,
        seed=document.seed,
        chosen=now.open,
        settled=now.labelled,
        centre=arrays["centre"],
        distance=arrays["distance"],
        map=on_map if len(on_map) else None,
    )
