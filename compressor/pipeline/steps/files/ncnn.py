"""Step `ncnn`: the student as networks of ncnn, for Raspberry Pi and phones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compressor.pipeline.context import Run
from compressor.pipeline.shared import attempt, calibration_images, deployed
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from runtime.bundle.schema import FileNotMade
from runtime.documents import Precision, plain
from runtime.errors import FileNotMadeError
from runtime.files import write_json

if TYPE_CHECKING:
    from export.ncnn.convert import Traced


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

    def inputs(run: Run) -> dict[str, object]:
        return {
            "student": run.network_digest(run.plan.recipe.student),
            "weights": run.outputs("distill")["student.safetensors"],
            "probes": run.outputs("probes"),
            "precisions": list(run.plan.recipe.export.precisions),
            **({"calibration": calibration_images.inputs(run)} if int8 else {}),
        }

    return Step(
        name="ncnn",
        summary="the student as networks of ncnn, compared with the student",
        version=2,
        products=(deployed.NCNN,),
        needs=("images", "distill", "probes", "to_onnx") if int8 else ("distill", "probes"),
        inputs=inputs,
        make=_make,
        libraries=(*NETWORK_LIBRARIES, "ncnn", "pnnx"),
    )


def _make(run: Run, work: Path) -> None:
    from export.ncnn import convert

    student, folder = run.trained_student(), work / deployed.NCNN
    folder.mkdir(parents=True, exist_ok=True)
    module, failed = deployed.with_probe(run, student), list[FileNotMade]()
    for precision in run.plan.recipe.export.precisions:
        path = folder / deployed.ncnn_file_of(precision)
        try:
            traced = convert.trace(module, student.preprocess.size_px, work / "student.pt")
            _of_precision(run, traced, precision, path)
        except FileNotMadeError as error:
            for made in folder.glob(f"{path.stem}.*"):
                made.unlink()
            why = attempt.in_one_line(error, folder)
            run.warn(f"no {precision} file for ncnn: {why}\n  The run goes on without it.")
            failed.append(FileNotMade(stage=f"ncnn-{precision}", precision=precision, why=why))
    (work / "student.pt").unlink(missing_ok=True)
    write_json(folder / deployed.NOT_MADE, plain(failed))


def _of_precision(run: Run, traced: Traced, precision: Precision, path: Path) -> None:
    from export.ncnn import convert, int8

    if precision != "int8":
        convert.make(traced, path, precision)
        return
    images = calibration_images.gather(run)
    tried = int8.make(traced, path, images.selected, images.validation)
    shown = "; ".join(f"{each.method} {each.error:.2e}" for each in tried)
    run.note(f"ncnn, INT8: ranges of activations and the error on validation images: {shown}")
