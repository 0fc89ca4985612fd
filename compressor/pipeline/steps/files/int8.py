"""Steps `int8_screening` and `int8`: plain INT8, then quantisation-aware training if needed.

They are two steps because gates decide only the second: it trains where the screening says that
plain INT8 would miss a gate. Another gate with the same outcome makes neither again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec.structs import replace

from compressor.pipeline.context import Run
from compressor.pipeline.shared import attempt, calibration_images, deployed, training_data
from compressor.pipeline.shared.calibration_images import CalibrationImages
from compressor.pipeline.shared.int8_screening import ScreeningDocument, screen
from compressor.pipeline.step import Step
from runtime import documents
from runtime.errors import FileNotMadeError
from runtime.files import write_json
from runtime.results.making import Int8Decision, QatDecision
from runtime.results.scores import to_json

_PLAIN, _SCREENING = "plain.int8.onnx", "int8_screening.json"


def _make_plain(run: Run, work: Path) -> None:
    from export import precision_proof
    from export.precision import int8

    images, path = calibration_images.gather(run), work / _PLAIN
    choices = {"selected": images.selected, "random": images.random}
    source = run.file(deployed.file_of("fp32"))

    def make() -> ScreeningDocument:
        decision = int8.make(source, path, choices, images.validation, track=run.track).result()
        decision = replace(decision, proof=precision_proof.prove(path, "int8"))
        return ScreeningDocument(decision, screen(run, path, images))

    attempt.make_or_say_why(run, "int8", path, work / _SCREENING, make)


def _missed(run: Run) -> list[str]:
    """Return the gates for whose sake the student should learn INT8's rounding."""
    if not run.plan.recipe.export.qat_epochs or _why_not_made(run):
        return []
    return _screened(run).screening.missed(run.plan.recipe.require)


def _why_not_made(run: Run) -> str | None:
    return attempt.why_not_made(run.file(_SCREENING))


def _screened(run: Run) -> ScreeningDocument:
    path = run.file(_SCREENING)
    return documents.read(path, ScreeningDocument, what="screening of INT8")


def _inputs(run: Run) -> dict[str, object]:
    missed = _missed(run)
    inputs: dict[str, object] = {"screening": run.outputs("int8_screening"), "missed": missed}
    if missed:
        recipe = run.plan.recipe
        inputs |= {
            "qat_epochs": recipe.export.qat_epochs,
            "distill": recipe.distill.model_dump(mode="json"),
            "features": run.outputs("features"),
        }
    return inputs


def _make(run: Run, work: Path) -> None:
    if (why := _why_not_made(run)) is not None:
        write_json(work / "int8.json", to_json(attempt.NotMade(why)))
        return
    path, decision = work / deployed.file_of("int8"), _screened(run).decision
    shutil.copyfile(run.file(_PLAIN), path)
    if missed := _missed(run):
        run.note(f"INT8 would miss {', '.join(missed)}: training with its rounding")
        try:
            decision = _better(run, work, path, tuple(missed))
        except FileNotMadeError as error:
            run.warn(f"training with INT8's rounding gave no file, plain INT8 stays: {error}")
    write_json(work / "int8.json", to_json(decision))


def _better(run: Run, work: Path, path: Path, missed: tuple[str, ...]) -> Int8Decision:
    """Train with INT8's rounding; put its file to `path` if it is better than the one there."""
    screened, images = _screened(run), calibration_images.gather(run)
    trained, again = _trained_with_rounding(run, work, images)
    after = screen(run, trained, images)
    kept = after.better_than(screened.screening)
    qat = QatDecision(
        epochs=run.plan.recipe.export.qat_epochs,
        missed=missed,
        before=screened.screening,
        after=after,
        kept=kept,
    )
    if kept:
        trained.replace(path)
    return replace(again if kept else screened.decision, qat=qat)


def _trained_with_rounding(
    run: Run, work: Path, images: CalibrationImages
) -> tuple[Path, Int8Decision]:
    """Return the INT8 file of a student that learnt the rounding, and how it was made."""
    from compressor.distillation import qat
    from export import precision_proof
    from export.onnx_file import export
    from export.precision import int8

    recipe, student = run.plan.recipe, run.trained_student()
    folder = work / "qat"
    folder.mkdir(exist_ok=True)
    qat.finetune(
        student,
        training_data.of(run, run.compute()),
        qat.shorter(
            recipe.distill,
            recipe.export.qat_epochs,
            images=len(run.images().part("train")),
            transformer=student.is_transformer,
        ),
        run.compute(),
        folder,
        track=run.track,
        note=run.note,
        on_epoch=run.observer,
    )
    source, path = folder / deployed.file_of("fp32"), folder / deployed.file_of("int8")
    export(deployed.with_probe(run, student), student.preprocess.size_px, source, {})
    choices = {"selected": images.selected}
    decision = int8.make(source, path, choices, images.validation, track=run.track).result()
    return path, replace(decision, proof=precision_proof.prove(path, "int8"))


SCREENING = Step(
    name="int8_screening",
    summary="plain INT8: calibrations tried, sensitive layers left in float; on validation images",
    version=2,
    products=(_SCREENING,),
    kept=(_PLAIN,),
    needs=("images", "embeddings", "probes", "to_onnx"),
    inputs=calibration_images.inputs,
    make=_make_plain,
    libraries=("onnx", "onnxruntime", "kmedoids"),
)
STEP = Step(
    name="int8",
    summary="the student in INT8; it learns the rounding where plain INT8 would miss a gate",
    version=2,
    products=(deployed.file_of("int8"), "int8.json"),
    needs=(
        "images",
        "embeddings",
        "pixels",
        "features",
        "distill",
        "probes",
        "to_onnx",
        "int8_screening",
    ),
    inputs=_inputs,
    make=_make,
    libraries=("onnx", "onnxruntime"),
)
