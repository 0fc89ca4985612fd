"""Step `ncnn`: the student as networks of ncnn, for Raspberry Pi and phones."""

from __future__ import annotations

from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.shared import attempt, deployed
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from runtime.bundle.schema import FileNotMade
from runtime.documents import plain
from runtime.errors import FileNotMadeError
from runtime.files import write_json


def refuse_early(run: Run) -> None:
    """Find what a conversion lacks before the long work.

    Raises:
        MissingDependencyError: pnnx or ncnn is asked for and not installed.
    """
    if deployed.NCNN in run.plan.recipe.export.formats:
        from export.ncnn.convert import require_tools

        require_tools()


def _inputs(run: Run) -> dict[str, object]:
    return {
        "student": run.network_digest(run.plan.recipe.student),
        "weights": run.outputs("distill")["student.safetensors"],
        "probes": run.outputs("probes"),
        "precisions": list(run.plan.recipe.export.precisions),
    }


def _make(run: Run, work: Path) -> None:
    from export.ncnn import convert

    student, folder = run.trained_student(), work / deployed.NCNN
    folder.mkdir(parents=True, exist_ok=True)
    module, failed = deployed.with_probe(run, student), list[FileNotMade]()
    for precision in run.plan.recipe.export.precisions:
        path = folder / deployed.ncnn_file_of(precision)
        try:
            if precision == "int8":
                raise FileNotMadeError(convert.INT8_NOT_MADE)
            traced = convert.trace(module, student.preprocess.size_px, work / "student.pt")
            convert.make(traced, path, precision)
        except FileNotMadeError as error:
            for made in folder.glob(f"{path.stem}.*"):
                made.unlink()
            why = attempt.in_one_line(error, folder)
            run.warn(f"no {precision} file for ncnn: {why}\n  The run goes on without it.")
            failed.append(FileNotMade(stage=f"ncnn-{precision}", precision=precision, why=why))
    (work / "student.pt").unlink(missing_ok=True)
    write_json(folder / deployed.NOT_MADE, plain(failed))


STEP = Step(
    name="ncnn",
    summary="the student as networks of ncnn, compared with the student",
    version=1,
    products=(deployed.NCNN,),
    needs=("distill", "probes"),
    inputs=_inputs,
    make=_make,
    libraries=(*NETWORK_LIBRARIES, "ncnn", "pnnx"),
)
