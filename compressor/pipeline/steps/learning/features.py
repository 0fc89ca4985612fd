"""Step `features`: the teacher on the fixed views of the training images, once."""

from __future__ import annotations

from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.shared import teacher_views
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from compressor.pipeline.storage.entries import link


def _make(run: Run, work: Path) -> None:
    (work / "features").mkdir(exist_ok=True)
    if run.disk_plan.features != "cached":
        return
    count = run.plan.recipe.distill.views_for(len(run.images().part("train")))
    for shard in teacher_views.shards(run, range(count)):
        link(work / "features" / shard.name, shard)


STEP = Step(
    name="features",
    summary="the teacher on the fixed views of the training images, once",
    version=1,
    products=(),
    kept=("features",),
    needs=("images", "pixels"),
    inputs=teacher_views.inputs,
    make=_make,
    libraries=NETWORK_LIBRARIES,
)
