"""Step `fp16`: the student in half precision."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from compressor.pipeline.context import Run
from compressor.pipeline.shared import calibration_images, deployed
from compressor.pipeline.step import Step
from runtime.files import write_json


def _make(run: Run, work: Path) -> None:
    from export import precision_proof
    from export.precision import fp16
    from runtime.results.scores import to_json

    images, path = calibration_images.gather(run), work / deployed.file_of("fp16")
    source = run.file(deployed.file_of("fp32"))
    choice = fp16.make(source, path, images.selected, images.validation)
    decision = replace(choice.result(), proof=precision_proof.prove(path, "fp16"))
    write_json(work / "fp16.json", to_json(decision))


STEP = Step(
    name="fp16",
    summary="the student in half precision, as far as parity allows",
    version=1,
    products=(deployed.file_of("fp16"), "fp16.json"),
    needs=("images", "probes", "to_onnx"),
    inputs=calibration_images.inputs,
    make=_make,
    libraries=("onnx", "onnxruntime"),
)
