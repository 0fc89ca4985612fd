"""The steps of a run, in the order in which data flows: the one list.

Run, dry run, resume, `compressor export` and the README's table follow it.
"""

from __future__ import annotations

from compressor.pipeline.context import Run
from compressor.pipeline.shared import deployed
from compressor.pipeline.step import Step
from compressor.pipeline.steps import (
    backbone,
    bundle,
    check,
    embeddings,
    golden,
    images,
    probes,
    robustness,
)
from compressor.pipeline.steps.files import camera, engines, fp16, int8, litert, ncnn, onnx
from compressor.pipeline.steps.learning import distill, features, pixels, start

BEFORE_SELECTION = ("images", "embeddings")
"""Steps that a choice of images to label needs. `selection` comes after them if labels are missing:
the run stops there (see `compressor.pipeline.steps.selection`)."""
LEARNING = ("embeddings", "pixels", "features", "distill")
"""Steps that a student comes from."""


def steps_of(run: Run) -> tuple[Step, ...]:
    """Return the steps that a recipe needs."""
    export = run.plan.recipe.export
    started, files, onnx_files = start.wanted(run), deployed.steps(run), deployed.onnx_steps(run)
    in_floats = tuple(name for name in onnx_files if name != deployed.CAMERA)
    chosen: list[tuple[Step, bool]] = [
        (images.STEP, True),
        (embeddings.STEP, True),
        (pixels.STEP, True),
        (features.STEP, True),
        (start.STEP, started),
        (distill.step(started=started), True),
        (backbone.STEP, True),
        (probes.step(started=started), True),
        (robustness.STEP, True),
        (golden.STEP, True),
        (onnx.STEP, True),
        (fp16.STEP, "fp16" in export.precisions),
        (int8.SCREENING, "int8" in export.precisions),
        (int8.STEP, "int8" in export.precisions),
        (camera.step(in_floats), export.input == "uint8"),
        (ncnn.step(int8="int8" in export.precisions), deployed.NCNN in export.formats),
        (litert.step(int8="int8" in export.precisions), deployed.LITERT in export.formats),
        (engines.step(onnx_files), bool(export.engines)),
        (bundle.step(files), True),
        (check.STEP, True),
    ]
    return tuple(step for step, wanted in chosen if wanted)
