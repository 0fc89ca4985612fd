"""The files that a run deploys: their names, where they are, and how a student becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from compressor.pipeline.context import Run
from compressor.pipeline.shared import attempt
from runtime import documents
from runtime.bundle.schema import FileNotMade, Flavour
from runtime.documents import Precision

if TYPE_CHECKING:
    from compressor.models.encoder import Encoder
    from export.onnx_file import Deployed

CAMERA = "camera"
"""Folder of the files that take pixels, if `export.input` asks for them."""
ENGINES = "engines"
NCNN = "ncnn"
"""Step and folder of the files for ncnn, if `export.formats` asks for them."""
LITERT = "litert"
"""The same for LiteRT."""
NOT_MADE = "not_made.json"
"""In a folder of files: those that could not be made, with why."""


class PendingBuild(Struct, frozen=True):
    """An engine that only the device itself can build: an entry of to_build.json."""

    flavour: Flavour
    precision: Precision


def to_build(run: Run) -> list[PendingBuild]:
    """Return the engines that only the device itself can build.

    Raises:
        InputError: a field of to_build.json is wrong.
    """
    path = run.file(f"{ENGINES}/to_build.json")
    return documents.read(path, list[PendingBuild], what="list of engines to build")


def not_made_in(run: Run, folder: str) -> list[FileNotMade]:
    """Return the files of a folder, such as `engines`, that could not be made, with why.

    Raises:
        InputError: a field of not_made.json is wrong.
    """
    path = run.file(f"{folder}/{NOT_MADE}")
    return documents.read(path, list[FileNotMade], what=f"list of {folder} that were not made")


def file_of(precision: str) -> str:
    """Return the name of the ONNX file of a precision."""
    return f"student.{precision}.onnx"


def ncnn_file_of(precision: str) -> str:
    """Return the name of the network of ncnn of a precision; a `.bin` lies beside it."""
    return f"student.{precision}.ncnn.param"


def litert_file_of(precision: str) -> str:
    """Return the name of the file for LiteRT of a precision."""
    return f"student.{precision}.tflite"


def steps(run: Run) -> tuple[str, ...]:
    """Return the names of the steps whose files are deployed or are the source of those."""
    export = run.plan.recipe.export
    made = [*onnx_steps(run), *export.formats]
    return (*made, ENGINES) if export.engines else tuple(made)


def onnx_steps(run: Run) -> tuple[str, ...]:
    """Return the names of those that make ONNX files."""
    export = run.plan.recipe.export
    made = ["to_onnx", *(each for each in ("fp16", "int8") if each in export.precisions)]
    return (*made, CAMERA) if export.input == "uint8" else tuple(made)


def digests(run: Run, names: tuple[str, ...]) -> dict[str, object]:
    """Return the digests of the outputs of some steps, and which precisions are deployed."""
    files = {name: run.outputs(name) for name in names}
    return {"files": files, "precisions": list(run.plan.recipe.export.precisions)}


def not_made(run: Run) -> dict[Precision, str]:
    """Return the precisions that were asked for and whose file could not be made, with why."""
    asked = (each for each in run.plan.recipe.export.precisions if each != "fp32")
    why = {each: attempt.why_not_made(run.file(f"{each}.json")) for each in asked}
    return {each: reason for each, reason in why.items() if reason is not None}


def precisions(run: Run) -> tuple[Precision, ...]:
    """Return the precisions to deliver: those asked for and made; else float32 in their place."""
    failed = not_made(run)
    return tuple(each for each in run.plan.recipe.export.precisions if each not in failed) or (
        "fp32",
    )


def onnx_files(run: Run) -> dict[Precision, Path]:
    """Return the finished ONNX files by precision: those that take pixels, if they are wanted."""
    below = f"{CAMERA}/" if run.plan.recipe.export.input == "uint8" else ""
    return {each: run.file(below + file_of(each)) for each in precisions(run)}


def batches(run: Run) -> tuple[int, int, int]:
    """Return the batch sizes of an engine: from, tuned for, up to."""
    given, of_target = run.plan.recipe.export.batches, run.plan.target.batches
    return given or (1, of_target[0], max(of_target))


def with_probe(run: Run, student: Encoder) -> Deployed:
    """Return a student and the probe that was fitted on the run's."""
    from compressor.probes.fit import deployed_probe
    from export.onnx_file import Deployed

    probe = deployed_probe(run.tensors("probes.safetensors"), "student")
    return Deployed(student.module, probe.module() if probe else None)
