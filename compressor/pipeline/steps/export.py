"""From a student to the files for the device: the stages that export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor.pipeline import stage as stages
from compressor.pipeline.context import Run
from compressor.pipeline.stage import Stage
from compressor.pipeline.steps import learn, prepare
from runtime.documents import Precision
from runtime.errors import InputError
from runtime.files import read_json, write_json

if TYPE_CHECKING:
    from compressor.models.encoder import Encoder
    from compressor.pipeline.steps.calibration_images import Material
    from export.engine.build import Order
    from export.onnx_file import Deployed
    from runtime.backends.tensorrt_flavour import Flavour

LIBRARIES = ("onnx", "onnxruntime")
CAMERA = "camera"
"""Folder of the files that take pixels, where `export.input` asks for them."""
ENGINES = "engines"


def way(run: Run) -> tuple[Stage[Run], ...]:
    """The stages that a recipe's files need, in order."""
    export = run.plan.recipe.export
    chosen = [_TO_ONNX]
    chosen += [_STAGE_OF[each] for each in ("fp16", "int8") if each in export.precisions]
    if export.input == "uint8":
        chosen.append(replace(_CAMERA, needs=tuple(stage.name for stage in chosen)))
    if export.engines:
        chosen.append(replace(_ENGINES, needs=tuple(stage.name for stage in chosen)))
    return tuple(chosen)


def refuse_early(run: Run) -> None:
    """Find what engines lack before the long work.

    Raises:
        InputError: nobody says what GPU an engine is for.
        MissingDependencyError: TensorRT-RTX is asked for and not installed.
    """
    from runtime.backends import gpu
    from runtime.backends.tensorrt_flavour import import_flavour

    plan = run.plan
    if "tensorrt-rtx" not in plan.recipe.export.engines:
        return
    import_flavour("tensorrt-rtx")
    if plan.target.compute_capability is None and gpu.find() is None:
        raise InputError(
            f"export.engines: tensorrt-rtx must know what GPU to build for, and the target "
            f"{plan.target_name} names none.\n"
            '  Put `compute_capability: "8.9"` (or what the device has) into a target file of your '
            "own, and name it as `target:`."
        )


def file_of(precision: str) -> str:
    """Name of the ONNX file of a precision."""
    return f"student.{precision}.onnx"


def deployed(run: Run) -> dict[Precision, Path]:
    """The finished ONNX files by precision: those that take pixels, where they are wanted."""
    export = run.plan.recipe.export
    folder = run.folder / CAMERA if export.input == "uint8" else run.folder
    return {each: folder / file_of(each) for each in export.precisions}


# --- ONNX ------------------------------------------------------------------------------------


def _onnx_inputs(run: Run) -> dict[str, Any]:
    return learn.probes_inputs(run) | {
        "probes": stages.outputs_digest("probes", run.folder),
        "recipe": run.plan.digest,
    }


def _make_onnx(run: Run, work: Path) -> None:
    from export import precision_proof
    from export.onnx_file import export

    student = learn.trained_student(run)
    metadata = {
        "preprocess": student.preprocess.to_dict(),
        "classes": list(run.images().classes),
        "recipe": {"name": run.plan.recipe.name, "digest": run.plan.digest},
        "teacher": read_json(run.folder / "teacher.json"),
        "student": read_json(run.folder / "student.json"),
    }
    path = work / file_of("fp32")
    export(_with_probe(run, student), student.preprocess.size_px, path, metadata)
    precision_proof.prove(path, "fp32")


def _with_probe(run: Run, student: Encoder) -> Deployed:
    """A student and the probe that was fitted on the run's."""
    from compressor.probes.fit import deployed_probe
    from export.onnx_file import Deployed

    probe = deployed_probe(run.tensors("probes.safetensors"), "student")
    return Deployed(student.module, probe.module() if probe else None)


# --- FP16 and INT8 -----------------------------------------------------------------------------


def _precision_inputs(run: Run) -> dict[str, Any]:
    recipe, found = run.plan.recipe, run.images()
    return {
        "onnx": stages.outputs_digest("to_onnx", run.folder),
        "student": stages.outputs_digest("probes", run.folder)["probes.safetensors"],
        "pixels": run.pixels_digest(),
        "splits": [photo.split for photo in found.records],
        "images": recipe.export.calibration_images,
        "seed": recipe.distill.seed,
    }


def _material(run: Run) -> Material:
    from compressor.pipeline.steps.calibration_images import gather
    from runtime.images.preprocess import Preprocess

    card = read_json(run.folder / "student.json")
    return gather(run, Preprocess.from_dict(card["preprocess"]))


def _make_half(run: Run, work: Path) -> None:
    from export import precision_proof
    from export.precision import fp16

    material, path = _material(run), work / file_of("fp16")
    choice = fp16.make(run.folder / file_of("fp32"), path, material.selected, material.validation)
    write_json(
        work / "fp16.json", choice.to_dict() | {"proof": precision_proof.prove(path, "fp16")}
    )


def _int8_inputs(run: Run) -> dict[str, Any]:
    recipe = run.plan.recipe
    return _precision_inputs(run) | {
        "qat_epochs": recipe.export.qat_epochs,
        "require": recipe.require.model_dump(mode="json"),
        "distill": recipe.distill.model_dump(mode="json"),
        "features": stages.outputs_digest("features", run.folder),
    }


def _make_int8(run: Run, work: Path) -> None:
    from compressor.pipeline.steps.int8_screening import foretell
    from export import precision_proof
    from export.precision import int8

    material, path = _material(run), work / file_of("int8")
    choices = {"selected": material.selected, "random": material.random}
    source = run.folder / file_of("fp32")
    decision = int8.make(source, path, choices, material.validation, track=run.track)
    document = decision.to_dict()
    recipe = run.plan.recipe
    plain = foretell(run, path, material)
    if recipe.export.qat_epochs and (missed := plain.missed(recipe.require)):
        run.note(f"INT8 would miss {', '.join(missed)}: learning its rounding")
        again, learnt = _taught_rounding(run, work, material)
        taught = foretell(run, again, material)
        kept = taught.better_than(plain)
        if kept:
            again.replace(path)
            document = learnt
        document["qat"] = {
            "epochs": recipe.export.qat_epochs,
            "missed": missed,
            "before": plain.to_dict(),
            "after": taught.to_dict(),
            "kept": kept,
        }
    write_json(work / "int8.json", document | {"proof": precision_proof.prove(path, "int8")})


def _taught_rounding(run: Run, work: Path, material: Material) -> tuple[Path, dict[str, Any]]:
    """The INT8 file of a student that learnt the rounding, and how it came to be."""
    from compressor.distillation import qat
    from export.onnx_file import export
    from export.precision import int8

    recipe, student = run.plan.recipe, learn.trained_student(run)
    folder = work / "qat"
    folder.mkdir(exist_ok=True)
    qat.finetune(
        student,
        learn.training_data(run),
        qat.shorter(recipe.distill, recipe.export.qat_epochs, transformer=student.is_transformer),
        run.compute(),
        folder,
        track=run.track,
        note=run.note,
        on_epoch=run.observer,
    )
    source, path = folder / file_of("fp32"), folder / file_of("int8")
    export(_with_probe(run, student), student.preprocess.size_px, source, {})
    choices = {"selected": material.selected}
    decision = int8.make(source, path, choices, material.validation, track=run.track)
    return path, decision.to_dict()


# --- pixels in, engines ------------------------------------------------------------------------


def _files_inputs(run: Run) -> dict[str, Any]:
    names = ["to_onnx", *(each for each in ("fp16", "int8") if each in _precisions(run))]
    return {
        "files": {name: stages.outputs_digest(name, run.folder) for name in names},
        "precisions": list(_precisions(run)),
    }


def _precisions(run: Run) -> Sequence[str]:
    return run.plan.recipe.export.precisions


def _make_camera(run: Run, work: Path) -> None:
    from export import precision_proof, uint8_input
    from runtime.images.preprocess import Preprocess

    preprocess = Preprocess.from_dict(read_json(run.folder / "student.json")["preprocess"])
    for precision in run.plan.recipe.export.precisions:
        path = work / CAMERA / file_of(precision)
        uint8_input.take_pixels(run.folder / file_of(precision), path, preprocess)
        precision_proof.prove(path, precision)


def _engines_inputs(run: Run) -> dict[str, Any]:
    from runtime.backends import gpu
    from runtime.backends.tensorrt_flavour import installed_version

    export, here = run.plan.recipe.export, gpu.find()
    return _files_inputs(run) | {
        "camera": export.input == "uint8" and stages.outputs_digest(CAMERA, run.folder),
        "engines": [[each, installed_version(each)] for each in export.engines],
        "gpu": None if here is None else [here.name, here.compute_capability, here.driver],
        "target": run.plan.target.compute_capability,
        "profile": [export.batches, run.plan.target.batches, export.workspace_mb],
    }


def _make_engines(run: Run, work: Path) -> None:
    """Build what can be built here; note what only the device itself can build."""
    from export.engine import build
    from runtime.backends import gpu

    folder = work / ENGINES
    folder.mkdir(parents=True, exist_ok=True)
    pending = []
    for flavour in run.plan.recipe.export.engines:
        for precision, path in deployed(run).items():
            if flavour == "tensorrt" and gpu.find() is None:
                pending.append({"flavour": flavour, "precision": precision})
                continue
            run.note(f"{flavour}, {precision}")
            build.build(path, folder, _order(run, flavour, precision), tell=run.note)
    write_json(folder / "to_build.json", pending)


def _order(run: Run, flavour: Flavour, precision: Any) -> Order:
    from export.engine.build import Order
    from runtime.backends.engine_manifest import Profile

    export, target = run.plan.recipe.export, run.plan.target
    return Order(
        flavour=flavour,
        precision=precision,
        profile=Profile(*batches(run)),
        compute_capability=target.compute_capability if flavour == "tensorrt-rtx" else None,
        workspace_mb=export.workspace_mb,
    )


def batches(run: Run) -> tuple[int, int, int]:
    """Batch sizes of an engine: from, tuned for, up to."""
    given, of_target = run.plan.recipe.export.batches, run.plan.target.batches
    return given or (1, of_target[0], max(of_target))


_TO_ONNX: Stage[Run] = Stage(
    name="to_onnx",
    summary="student and probe as one ONNX file",
    outputs=(file_of("fp32"),),
    needs=("images", "embeddings", "distill", "probes"),
    inputs=_onnx_inputs,
    make=_make_onnx,
    code=("compressor.pipeline.steps.export",),
    libraries=(*prepare.LIBRARIES, "onnx", "onnxscript"),
)
_STAGE_OF: dict[str, Stage[Run]] = {
    "fp16": Stage(
        name="fp16",
        summary="the student in half precision, as far as parity allows",
        outputs=(file_of("fp16"), "fp16.json"),
        needs=("images", "probes", "to_onnx"),
        inputs=_precision_inputs,
        make=_make_half,
        code=(
            "compressor.pipeline.steps.calibration_images",
            "export.precision.fp16",
            "export.precision_proof",
        ),
        libraries=LIBRARIES,
    ),
    "int8": Stage(
        name="int8",
        summary="the student in INT8: calibrations tried, sensitive layers left in float",
        outputs=(file_of("int8"), "int8.json"),
        needs=("images", "embeddings", "pixels", "features", "distill", "probes", "to_onnx"),
        inputs=_int8_inputs,
        make=_make_int8,
        code=(
            "compressor.pipeline.steps.calibration_images",
            "compressor.pipeline.steps.int8_screening",
            "compressor.distillation.qat",
            "export.precision.int8",
            "export.precision_proof",
        ),
        libraries=(*LIBRARIES, "kmedoids"),
    ),
}
_CAMERA: Stage[Run] = Stage(
    name=CAMERA,
    summary="files that take pixels and normalise inside",
    outputs=(CAMERA,),
    needs=(),
    inputs=_files_inputs,
    make=_make_camera,
    code=("export.uint8_input", "export.precision_proof"),
    libraries=("onnx",),
)
_ENGINES: Stage[Run] = Stage(
    name=ENGINES,
    summary="TensorRT engines, each with its manifest",
    outputs=(ENGINES,),
    needs=(),
    inputs=_engines_inputs,
    make=_make_engines,
    code=("export.engine",),
)
