"""Step `backbone`: the student without its embedding layer, for other work in timm."""

from __future__ import annotations

from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.step import NETWORK_LIBRARIES, Step

FILE = "student.backbone.safetensors"


def _inputs(run: Run) -> dict[str, object]:
    return {
        "student": run.network_digest(run.plan.recipe.student),
        "weights": run.outputs("distill")["student.safetensors"],
    }


def _make(run: Run, work: Path) -> None:
    from compressor.models import backbone_file

    backbone_file.write(run.trained_student(), work / FILE)


STEP = Step(
    name="backbone",
    summary="the student's timm model, for other work",
    version=1,
    products=(FILE,),
    needs=("distill",),
    inputs=_inputs,
    make=_make,
    libraries=NETWORK_LIBRARIES,
)
