"""Step `pixels`: the training images decoded and shrunk, as long as the disk allows it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.shared import teacher_views
from compressor.pipeline.step import Step
from compressor.pipeline.storage.entries import link

_SHARDS_VERSION = 1
"""Raise it when the same images give other shards."""


def _make(run: Run, work: Path) -> None:
    from importlib import metadata

    from compressor.data import image_store

    (work / "pixels").mkdir(exist_ok=True)
    for line in run.disk_plan.lines:
        run.note(line)
    if not run.disk_plan.keep_images:
        return
    train, side_px = run.images().part("train"), run.disk_plan.side_px
    packing = run.disk_plan.packing
    code = [_SHARDS_VERSION, metadata.version("pillow")]
    for start in range(0, len(train), image_store.SHARD_IMAGES):
        keys = train.keys[start : start + image_store.SHARD_IMAGES]
        name = image_store.shard_name(start, packing)
        make = partial(
            image_store.write_shard,
            images=train,
            start=start,
            side_px=side_px,
            packing=packing,
            track=run.track,
        )
        key = ["pixels", keys, side_px, code, *([] if packing == "raw" else [packing])]
        link(work / "pixels" / name, run.shared(key, name, make))


STEP = Step(
    name="pixels",
    summary="the training images decoded, for as long as they fit on the disk allowed",
    version=1,
    products=(),
    kept=("pixels",),
    needs=("images",),
    inputs=teacher_views.inputs,
    make=_make,
    libraries=("pillow",),
)
