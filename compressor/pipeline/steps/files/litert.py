"""Step `litert`: the student as files of LiteRT, for Raspberry Pi and phones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.pipeline.context import Run
from compressor.pipeline.shared import calibration_images, deployed
from compressor.pipeline.shared.conversion import Format
from compressor.pipeline.step import Step
from runtime.documents import Precision

if TYPE_CHECKING:
    from export.litert.convert import Converted

LITERT = Format(
    key=deployed.LITERT,
    runtime="LiteRT",
    summary="the student as files of LiteRT, compared with the student",
    version=1,
    libraries=("ai-edge-litert", "ai-edge-quantizer", "litert-torch"),
    file_of=deployed.litert_file_of,
)


def refuse_early(run: Run) -> None:
    """Find what a conversion lacks before the long work.

    Raises:
        MissingDependencyError: LiteRT or its converter is asked for and not installed.
    """
    if deployed.LITERT in run.plan.recipe.export.formats:
        from export.litert.convert import require_tools

        require_tools()


def step(*, int8: bool) -> Step:
    """Return the step; with INT8 it needs images to calibrate on."""
    return LITERT.step(_make, int8=int8)


def _make(run: Run, work: Path) -> None:
    from export.litert import convert
    from export.litert import precision as precisions

    student, converted = run.trained_student(), work / "source.tflite"

    def whole() -> Converted:
        module = deployed.with_probe(run, student)
        return convert.convert(module, student.preprocess.size_px, converted)

    def make(source: Converted, precision: Precision, path: Path) -> None:
        if precision == "fp32":
            shutil.copyfile(source.path, path)
        elif precision == "fp16":
            precisions.fp16(source, path)
        else:
            images = calibration_images.gather(run)
            tried = precisions.int8(source, path, images.selected, images.validation)
            shown = "; ".join(f"{each.operators} {each.error:.2e}" for each in tried)
            run.note(f"LiteRT, INT8: operators in INT8 and the error on validation images: {shown}")

    LITERT.write(run, work, whole, make)
    converted.unlink(missing_ok=True)
