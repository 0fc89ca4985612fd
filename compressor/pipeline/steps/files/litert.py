"""Step `litert`: the student as files of LiteRT, for Raspberry Pi and phones."""

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
    from export.litert.convert import Converted


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

    def inputs(run: Run) -> dict[str, object]:
        return {
            "student": run.network_digest(run.plan.recipe.student),
            "weights": run.outputs("distill")["student.safetensors"],
            "probes": run.outputs("probes"),
            "precisions": list(run.plan.recipe.export.precisions),
            **({"calibration": calibration_images.inputs(run)} if int8 else {}),
        }

    return Step(
        name="litert",
        summary="the student as files of LiteRT, compared with the student",
        version=1,
        products=(deployed.LITERT,),
        needs=("images", "distill", "probes", "to_onnx") if int8 else ("distill", "probes"),
        inputs=inputs,
        make=_make,
        libraries=(*NETWORK_LIBRARIES, "ai-edge-litert", "ai-edge-quantizer", "litert-torch"),
    )


def _make(run: Run, work: Path) -> None:
    from export.litert import convert

    student, folder = run.trained_student(), work / deployed.LITERT
    folder.mkdir(parents=True, exist_ok=True)
    wanted, failed = run.plan.recipe.export.precisions, list[FileNotMade]()

    def say(precision: Precision, error: FileNotMadeError) -> None:
        why = attempt.in_one_line(error, folder)
        run.warn(f"no {precision} file for LiteRT: {why}\n  The run goes on without it.")
        failed.append(FileNotMade(stage=f"litert-{precision}", precision=precision, why=why))

    source, module = work / "source.tflite", deployed.with_probe(run, student)
    try:
        converted = convert.convert(module, student.preprocess.size_px, source)
    except FileNotMadeError as error:
        for precision in wanted:
            say(precision, error)
    else:
        for precision in wanted:
            path = folder / deployed.litert_file_of(precision)
            try:
                _of_precision(run, converted, precision, path)
            except FileNotMadeError as error:
                for made in folder.glob(f"{path.stem}*"):
                    made.unlink()
                say(precision, error)
    source.unlink(missing_ok=True)
    write_json(folder / deployed.NOT_MADE, plain(failed))


def _of_precision(run: Run, source: Converted, precision: Precision, path: Path) -> None:
    import shutil

    from export.litert import precision as precisions

    if precision == "fp32":
        shutil.copyfile(source.path, path)
    elif precision == "fp16":
        precisions.fp16(source, path)
    else:
        images = calibration_images.gather(run)
        tried = precisions.int8(source, path, images.selected, images.validation)
        shown = "; ".join(f"{each.operators} {each.error:.2e}" for each in tried)
        run.note(f"LiteRT, INT8: operators in INT8 and the error on validation images: {shown}")
