"""The student's files tried before anything long: what cannot be exported is said at once.

What a student learns changes nothing of this, so it is tried with the weights that it has.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from compressor.pipeline import engine
from compressor.pipeline.context import Run
from compressor.pipeline.step_list import steps_of
from runtime import documents
from runtime.arrays import Floats
from runtime.errors import FileNotMadeError, InputError
from runtime.files import write_json

if TYPE_CHECKING:
    from compressor.models.encoder import Encoder
    from export.onnx_file import Deployed

_LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime")
_CONVERTERS = {
    "ncnn": ("ncnn", "pnnx"),
    "litert": ("ai-edge-litert", "ai-edge-quantizer", "litert-torch"),
}
_VERSION = 1
"""Raise it when what is tried changes."""
_FILE = "export_trial.json"
_IMAGES = 4
_CLOSE = 1e-3
"""Largest difference to torch's answers, as a share of their largest magnitude: a right export of a
test_vit_relpos is within 2e-6, a wrong one is another function."""


class ExportTrial(Struct, frozen=True):
    """Which files the student cannot have, each with the reason."""

    refused: dict[str, str]


def try_files(run: Run) -> None:
    """Export the student as it is, and make every file that the recipe asks for of it, roughly.

    Warns of files that it cannot have; the run will go on without them. It is tried once for a
    student and for versions of the libraries.

    Raises:
        InputError: the student cannot be exported at this size, or the file answers other than it.
    """
    states = engine.plan(steps_of(run), run)
    if any(step.name == "to_onnx" and state in ("cached", "stored") for step, state in states):
        return
    recipe = run.plan.recipe
    student = recipe.student.model_dump(mode="json", exclude={"weights", "latency_table"})
    wanted = recipe.export
    libraries = [*_LIBRARIES, *(name for each in wanted.formats for name in _CONVERTERS[each])]
    versions = {name: version(name) for name in libraries}
    files = [list(wanted.precisions), list(wanted.engines), list(wanted.formats)]
    key = [_FILE, _VERSION, student, recipe.student.pretrained, files, versions]
    path = run.shared(key, _FILE, lambda path: write_json(path, documents.plain(_tried(run))))
    for file, why in documents.read(path, ExportTrial, what="trial").refused.items():
        run.warn(f"no {file} file can be made of this student: {why}\n  The run goes on without.")


def _tried(run: Run) -> ExportTrial:
    run.note("trying the export, before anything long")
    student, export_section = run.initial_student, run.plan.recipe.export
    refused = dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.fp32.onnx"
        export_as_is(student, path, {})
        for precision in export_section.precisions:
            try:
                _make(path, precision, student.preprocess.size_px)
            except FileNotMadeError as error:
                refused[precision] = str(error).splitlines()[0]
        if "tensorrt-rtx" in export_section.engines:
            try:
                _parse(path)
            except FileNotMadeError as error:
                refused["tensorrt-rtx"] = str(error).replace(f"{folder}/", "")
        for name in export_section.formats:
            try:
                _convert(student, name, Path(folder))
            except FileNotMadeError as error:
                refused[name] = str(error).replace(f"{folder}/", "")
    return ExportTrial(refused)


def _convert(student: Encoder, runtime: Literal["ncnn", "litert"], folder: Path) -> None:
    """Make a file for another runtime."""
    from export.onnx_file import Deployed

    module, size_px = Deployed(student.module, None), student.preprocess.size_px
    if runtime == "litert":
        from export.litert.convert import convert

        convert(module, size_px, folder / "student.tflite")
        return
    from export.ncnn.convert import make, trace

    make(trace(module, size_px, folder / "student.pt"), folder / "student.param", "fp32")


def export_as_is(student: Encoder, path: Path, metadata: Mapping[str, str]) -> None:
    """Export a student without a probe, and compare the file's answers with its own.

    Raises:
        InputError: it cannot be exported at this size, or the file answers other than it.
    """
    import copy

    from export.onnx_file import Deployed, export

    module = copy.deepcopy(Deployed(student.module, None)).cpu().float()
    export(module, student.preprocess.size_px, path, dict(metadata))
    _require_same_answers(path, module, student.preprocess.size_px)


def _require_same_answers(path: Path, module: Deployed, size_px: int) -> None:
    """Compare the file with the network, for another number of images than it was traced with."""
    import numpy as np
    import torch

    from runtime.backends.registry import open_session

    images = _images(size_px)[:3]
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    got = open_session(path, provider="cpu").run(images).embedding
    scale = float(np.abs(expected).max())
    if np.isfinite(expected).all() and not np.allclose(got, expected, atol=_CLOSE * scale, rtol=0):
        raise InputError(
            f"this student's ONNX file answers other than the student, by "
            f"{float(np.abs(got - expected).max()) / scale:.2g} of its largest value.\n"
            "  Take another model; this one cannot be deployed as it is."
        )


def _make(source: Path, precision: documents.Precision, size_px: int) -> None:
    """Make a file of a precision on invented images, without any search."""
    from export import graph, precision_proof
    from export.precision import fp16, int8
    from export.precision.calibration import calibrate

    images, path = _images(size_px), source.with_name(f"student.{precision}.onnx")
    if precision == "fp16":
        fp16.make(source, path, images, images, parity=-1.0)
    elif precision == "int8":
        quantiser = int8.Quantiser.of(source, images)
        ranges = calibrate(quantiser.model, images, name="invented", method="minmax")
        graph.save(quantiser.quantised(ranges, quantiser.layers), path, {})
        precision_proof.prove(path, "int8")


def _parse(path: Path) -> None:
    from export.engine import build

    build.require_readable(path, "tensorrt-rtx")


def _images(size_px: int) -> Floats:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(_IMAGES, 3, size_px, size_px)).astype(np.float32)
