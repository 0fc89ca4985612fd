"""From a student to the bundle and its report: the stages that deliver."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compressor import golden_set, learning, preparing, stages, student_search
from compressor.run import Run
from compressor.stages import Stage
from runtime.files import read_json

# --- files for the device --------------------------------------------------------------------


def _onnx_inputs(run: Run) -> dict[str, Any]:
    return learning.probes_inputs(run) | {
        "probes": stages.outputs_digest("probes", run.folder),
        "recipe": run.plan.digest,
    }


def _make_onnx(run: Run, work: Path) -> None:
    from compressor.probing.fitting import deployed_probe
    from export.to_onnx import Deployed, export

    student, probes = learning.trained_student(run), run.tensors("probes.safetensors")
    probe = deployed_probe(probes, "student")
    module = Deployed(student.module, probe.module() if probe else None)
    metadata = {
        "preprocess": student.preprocess.to_dict(),
        "classes": list(run.images().classes),
        "recipe": {"name": run.plan.recipe.name, "digest": run.plan.digest},
        "teacher": read_json(run.folder / "teacher.json"),
        "student": read_json(run.folder / "student.json"),
    }
    export(module, student.preprocess.size_px, work / "student.fp32.onnx", metadata)


def _bundle_inputs(run: Run) -> dict[str, Any]:
    return {
        "onnx": stages.outputs_digest("to_onnx", run.folder),
        "golden": stages.outputs_digest("golden", run.folder),
        "target": [run.plan.target_name, run.plan.target.model_dump(mode="json")],
        "require": run.plan.recipe.require.model_dump(mode="json"),
        "golden_images": run.plan.recipe.export.golden_images,
    }


def _make_bundle(run: Run, work: Path) -> None:
    from export import bundle
    from export.to_onnx import facts
    from runtime import fidelity, golden
    from runtime.bundle import SCHEMA_VERSION

    plan, found = run.plan, run.images()
    student, teacher = (read_json(run.folder / f"{role}.json") for role in ("student", "teacher"))
    embedded = run.tensors("probes.safetensors")["student"]
    train, validation = (
        embedded[[photo.split == split for photo in found.photos]]
        for split in ("train", "validation")
    )
    scores = fidelity.ood_scores(validation, train)
    match = plan.target.match.model_dump(exclude_none=True)
    path = run.folder / "student.fp32.onnx"
    probe = read_json(run.folder / "probe.json")
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": plan.recipe.name,
        "recipe": {"name": plan.recipe.name, "digest": plan.digest},
        "classes": list(found.classes),
        "preprocess": student["preprocess"],
        # Under it, an image is less like the training images than 95 % of unseen ones of the task.
        "ood_threshold": float(np.percentile(scores, 5)),
        "target": {"name": plan.target_name, **plan.target.model_dump(mode="json"), "match": match},
        "require": plan.recipe.require.model_dump(mode="json"),
        "teacher": teacher,
        "student": student,
        "probe": probe if found.classes else None,
        "onnx": facts(path),
    }
    files = [("onnx-fp32", "fp32", path)]
    held_out = golden.load(run.folder / "holdout")
    bundle.write(
        work / bundle.BUNDLE_NAME,
        document,
        files,
        held_out,
        golden_images=plan.recipe.export.golden_images,
    )


def _check_inputs(run: Run) -> dict[str, Any]:
    from runtime.device import describe, version_of

    machine = describe()
    libraries = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
    return {
        "data": [run.counts(), run.pixels_digest()],
        "training": stages.outputs_digest("distill", run.folder),
        "libraries": {name: version_of(name) for name in libraries},
        "bundle": stages.outputs_digest("bundle", run.folder),
        "golden": stages.outputs_digest("golden", run.folder),
        "machine": [machine["cpu"], machine["cores"], machine["gpu"]],
    }


def _make_check(run: Run, work: Path) -> None:
    from runtime import bundle, golden, report
    from runtime.check import check

    started = time.monotonic()
    held_out = golden.load(run.folder / "holdout")
    found = check(bundle.load(run.folder / "bundle"), held_out, track=run.track)
    chain = (*preparing.STAGES, *learning.STAGES, *golden_set.STAGES, *STAGES)
    before = [stage.name for stage in chain if stage.name != "check"]
    found |= {
        "data": {**run.counts(), "digest": run.pixels_digest()},
        "timings_s": {
            **{name: stages.seconds_of(name, run.folder) for name in before},
            "check": round(time.monotonic() - started, 2),
        },
        "training": _training_summary(run),
        "untrained_student": read_json(run.folder / "untrained.json"),
    }
    if searched := student_search.found_for(run):
        found["student_search"] = searched
    report.write(found, work, images=held_out.root)


def _training_summary(run: Run) -> dict[str, Any]:
    spec = run.plan.recipe.distill
    lines = (run.folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    kept = next((each for each in reversed(epochs) if each["best_so_far"]), epochs[-1])
    return {
        **{key: getattr(spec, key) for key in ("method", "center", "seed")},
        **read_json(run.folder / "training.json"),
        "epochs": len(epochs),
        "kept_epoch": kept["epoch"],
        "kept": kept,
    }


STAGES: Sequence[Stage[Run]] = (
    Stage(
        name="to_onnx",
        summary="student and probe as one ONNX file",
        outputs=("student.fp32.onnx",),
        needs=("images", "embeddings", "distill", "probes"),
        inputs=_onnx_inputs,
        make=_make_onnx,
        code=("compressor.delivery",),
        libraries=(*preparing.LIBRARIES, "onnx", "onnxscript"),
    ),
    Stage(
        name="bundle",
        summary="everything the device needs, with a manifest",
        outputs=("bundle",),
        needs=("images", "embeddings", "probes", "golden", "to_onnx"),
        inputs=_bundle_inputs,
        make=_make_bundle,
        code=("compressor.delivery",),
    ),
    Stage(
        name="check",
        summary="run the bundle here: latency, parity, fidelity, verdict",
        outputs=("report.json", "report.md", "report.html"),
        needs=("images", "distill", "golden", "bundle"),
        inputs=_check_inputs,
        make=_make_check,
        code=("compressor.delivery",),
    ),
)
