"""Step `fp16`: the student in half precision."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from compressor.pipeline.context import Run
from compressor.pipeline.shared import attempt, calibration_images, deployed
from compressor.pipeline.step import Step
from runtime.results.making import Fp16Decision


def _make(run: Run, work: Path) -> None:
    from export import precision_proof
    from export.precision import fp16

    images, path = calibration_images.gather(run), work / deployed.file_of("fp16")
    source = run.file(deployed.file_of("fp32"))

    def make() -> Fp16Decision:
        choice = fp16.make(source, path, images.selected, images.validation)
        return replace(choice.result(), proof=precision_proof.prove(path, "fp16"))

    attempt.make_or_say_why(run, "fp16", path, work / "fp16.json", make)


STEP = Step(
    name="fp16",
    summary="the student in half precision, as far as parity allows",
    version=2,
    products=(deployed.file_of("fp16"), "fp16.json"),
    needs=("images", "probes", "to_onnx"),
    inputs=calibration_images.inputs,
    make=_make,
    libraries=("onnx", "onnxruntime"),
)
