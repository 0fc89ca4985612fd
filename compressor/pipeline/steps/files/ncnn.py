"""Step `ncnn`: the student as networks of ncnn, for Raspberry Pi and phones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compressor.pipeline.context import Run
from compressor.pipeline.shared import calibration_images, deployed
from compressor.pipeline.shared.conversion import Format
from compressor.pipeline.step import Step
from runtime.documents import Precision

if TYPE_CHECKING:
    from export.ncnn.convert import Traced

NCNN = Format(
    key=deployed.NCNN,
    runtime="ncnn",
    summary="the student as networks of ncnn, compared with the student",
    version=2,
    libraries=("ncnn", "pnnx"),
    file_of=deployed.ncnn_file_of,
)


def refuse_early(run: Run) -> None:
    """Find what a conversion lacks before the long work.

    Raises:
        MissingDependencyError: pnnx or ncnn is asked for and not installed.
    """
    if deployed.NCNN in run.plan.recipe.export.formats:
        from export.ncnn.convert import require_tools

        require_tools()


def step(*, int8: bool) -> Step:
    """Return the step; with INT8 it needs images to calibrate on."""
    return NCNN.step(_make, int8=int8)


def _make(run: Run, work: Path) -> None:
    from export.ncnn import convert, int8

    student, traced = run.trained_student(), work / "student.pt"

    def trace() -> Traced:
        module = deployed.with_probe(run, student)
        return convert.trace(module, student.preprocess.size_px, traced)

    def make(source: Traced, precision: Precision, path: Path) -> None:
        if precision != "int8":
            convert.make(source, path, precision)
            return
        images = calibration_images.gather(run)
        tried = int8.make(source, path, images.selected, images.validation)
        shown = "; ".join(f"{each.method} {each.error:.2e}" for each in tried)
        run.note(f"ncnn, INT8: ranges of activations and the error on validation images: {shown}")

    NCNN.write(run, work, trace, make)
    traced.unlink(missing_ok=True)
