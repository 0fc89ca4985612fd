"""Step `camera`: files that take pixels and normalise inside."""

from __future__ import annotations

from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.shared import deployed
from compressor.pipeline.step import Step
from runtime import documents


def step(before: tuple[str, ...]) -> Step:
    """Return the step that converts the ONNX files of some steps."""

    def inputs(run: Run) -> dict[str, object]:
        return deployed.digests(run, before)

    return Step(
        name=deployed.CAMERA,
        summary="files that take pixels and normalise inside",
        version=1,
        products=(deployed.CAMERA,),
        needs=("probes", *before),
        inputs=inputs,
        make=_make,
        libraries=("onnx",),
    )


def _make(run: Run, work: Path) -> None:
    from export import precision_proof, uint8_input
    from runtime.bundle.schema import EncoderCard

    preprocess = documents.read(run.file("student.json"), EncoderCard, what="student").preprocess
    for precision in deployed.precisions(run):
        name = deployed.file_of(precision)
        path = work / deployed.CAMERA / name
        uint8_input.take_pixels(run.file(name), path, preprocess)
        precision_proof.prove(path, precision)
