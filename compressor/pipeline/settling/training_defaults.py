"""What a run settles before its first step: defaults that follow from student, device and disk.

The limit of the disk is settled once and kept in the folder, because what a run makes follows from
it: which features, images and views there are.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from compressor.pipeline import engine
from compressor.pipeline.context import Run
from compressor.pipeline.step_list import steps_of
from compressor.pipeline.storage.cache import store_for
from compressor.pipeline.storage.room import room_of
from compressor.recipe.schema import Distill
from runtime.documents import plain, read
from runtime.files import write_json
from runtime.text import amount

DISK_FILE = "disk_limit.json"


class DiskLimit(Struct, frozen=True, kw_only=True):
    """disk_limit.json in the folder of a run whose recipe has no `distill.disk_gb`."""

    disk_gb: Annotated[float, Meta(gt=0)]
    """10^9 bytes."""


def with_training_defaults(run: Run) -> Run:
    """Return the run with the defaults of `distill:` that suit student, machine and disk.

    Writes nothing; see `keep_disk_limit`.
    """
    recipe = run.plan.recipe
    distill = recipe.distill.settled(
        from_weights=recipe.student.pretrained, on_gpu=run.device_type() == "cuda"
    )
    run = run.with_sections(distill=distill)
    return run if distill.disk_gb is not None else _with_disk_limit(run)


def keep_disk_limit(run: Run, asked: Distill) -> None:
    """Write down the limit of a run whose recipe left it open; the folder must be locked.

    Args:
        run: settled.
        asked: the recipe's `distill:` before.
    """
    settled = run.plan.recipe.distill.disk_gb
    if asked.disk_gb is None and settled is not None:
        write_json(run.folder / DISK_FILE, plain(DiskLimit(disk_gb=settled)))


def _with_disk_limit(run: Run) -> Run:
    """Return the run with the limit that its folder remembers, or one for what is free now.

    A remembered limit that no longer fits is settled anew, unless all that is kept is there.
    """
    room = room_of(store_for(run.folder, writable=False))
    path, anew = run.folder / DISK_FILE, ""
    if path.is_file():
        known = read(path, DiskLimit, what="limit of the disk").disk_gb
        there = _limited(run, known)
        if known * 1e9 <= room.bytes or _made(there):
            run.note(f"distill.disk_gb: {known:g}, as settled when this run began")
            return there
        anew = f" (settled anew: {known:g}, from when this run began, no longer fits)"
    held = f", {amount(room.kept)} held by the cache" if room.kept else ""
    run.note(
        f"distill.disk_gb: {room.disk_gb:g}{anew}, by a third of the room of {room.folder}: "
        f"{amount(room.free)} free{held}"
    )
    return _limited(run, room.disk_gb)


def _limited(run: Run, disk_gb: float) -> Run:
    distill = run.plan.recipe.distill.model_copy(update={"disk_gb": disk_gb})
    return run.with_sections(distill=distill)


def _made(run: Run) -> bool:
    """Return whether everything that the limit is for was made."""
    steps = [step for step in steps_of(run) if step.name in ("images", "pixels", "features")]
    return all(state in ("cached", "stored") for _, state in engine.plan(steps, run))
