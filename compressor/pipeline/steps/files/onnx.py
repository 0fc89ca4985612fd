"""Step `to_onnx`: student and probe as one ONNX file."""

from __future__ import annotations

from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.shared import deployed
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from runtime.documents import read_json


def _inputs(run: Run) -> dict[str, object]:
    return {
        "student": run.network_digest(run.plan.recipe.student),
        "weights": run.outputs("distill")["student.safetensors"],
        "probes": run.outputs("probes"),
        "teacher": run.outputs("embeddings")["teacher.json"],
        "classes": list(run.images().classes),
        "name": run.plan.recipe.name,
    }


def _make(run: Run, work: Path) -> None:
    from export import precision_proof
    from export.onnx_file import export

    student = run.trained_student()
    metadata = {
        "preprocess": student.preprocess.to_dict(),
        "classes": list(run.images().classes),
        "recipe": {"name": run.plan.recipe.name},
        "teacher": read_json(run.file("teacher.json")),
        "student": read_json(run.file("student.json")),
    }
    path = work / deployed.file_of("fp32")
    export(deployed.with_probe(run, student), student.preprocess.size_px, path, metadata)
    precision_proof.prove(path, "fp32")


STEP = Step(
    name="to_onnx",
    summary="student and probe as one ONNX file",
    version=3,
    products=(deployed.file_of("fp32"),),
    needs=("images", "embeddings", "distill", "probes"),
    inputs=_inputs,
    make=_make,
    libraries=(*NETWORK_LIBRARIES, "onnx", "onnxscript"),
)
