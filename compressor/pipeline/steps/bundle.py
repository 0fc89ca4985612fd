"""Everything the device needs, in one folder: the stage that puts it together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressor.pipeline import stage as stages
from compressor.pipeline.context import Run
from compressor.pipeline.stage import Stage
from compressor.pipeline.steps import export as exporting
from runtime.files import read_json


def stage(run: Run) -> Stage[Run]:
    """The stage that makes the bundle of the files that the recipe asks for."""
    made = tuple(each.name for each in exporting.way(run))
    return Stage(
        name="bundle",
        summary="everything the device needs, with a manifest",
        outputs=("bundle",),
        needs=("images", "embeddings", "probes", "golden", *made),
        inputs=_inputs,
        make=_make,
        code=("compressor.pipeline.steps.bundle",),
    )


def _inputs(run: Run) -> dict[str, Any]:
    return {
        "files": {
            stage.name: stages.outputs_digest(stage.name, run.folder)
            for stage in exporting.way(run)
        },
        "export": run.plan.recipe.export.model_dump(mode="json"),
        "golden": stages.outputs_digest("golden", run.folder),
        "target": [run.plan.target_name, run.plan.target.model_dump(mode="json")],
        "require": run.plan.recipe.require.model_dump(mode="json"),
    }


def _make(run: Run, work: Path) -> None:
    from export import bundle
    from export.onnx_file import facts
    from runtime import metrics
    from runtime.bundle import golden
    from runtime.bundle.bundle import SCHEMA_VERSION

    plan, found = run.plan, run.images()
    student, teacher = (read_json(run.folder / f"{role}.json") for role in ("student", "teacher"))
    embedded = run.tensors("probes.safetensors")["student"]
    scores = metrics.ood_scores(embedded[found.rows("validation")], embedded[found.rows("train")])
    probe = read_json(run.folder / "probe.json")
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": plan.recipe.name,
        "recipe": {"name": plan.recipe.name, "digest": plan.digest},
        "classes": list(found.classes),
        "preprocess": student["preprocess"],
        # Under it, an image is less like the training images than 95 % of unseen ones of the task.
        "ood_threshold": float(np.percentile(scores, 5)),
        "target": {
            "name": plan.target_name,
            **plan.target.model_dump(mode="json"),
            "match": plan.target.pattern,
        },
        "require": plan.recipe.require.model_dump(mode="json"),
        "teacher": teacher,
        "student": student,
        "probe": probe if found.classes else None,
        "onnx": facts(run.folder / exporting.file_of("fp32")),
        "input": plan.recipe.export.input,
        "precision": _decisions(run),
        "engines": {
            "flavours": list(plan.recipe.export.engines),
            "batches": list(exporting.batches(run)),
            "workspace_mb": plan.recipe.export.workspace_mb,
        },
    }
    files = [(f"onnx-{each}", each, path) for each, path in exporting.deployed(run).items()]
    if plan.recipe.export.engines:
        files += bundle.engines_in(run.folder / exporting.ENGINES)
        document["engines_to_build"] = [
            bundle.pending(each["flavour"], each["precision"])
            for each in read_json(run.folder / exporting.ENGINES / "to_build.json")
        ]
    held_out = golden.load(run.folder / "holdout")
    bundle.write(
        work / bundle.BUNDLE_NAME,
        document,
        files,
        held_out,
        bundle.Cap(plan.recipe.export.golden_images, plan.recipe.export.golden_mb),
    )


def _decisions(run: Run) -> dict[str, Any]:
    """How FP16 and INT8 came to be, for the report."""
    made = [each for each in ("fp16", "int8") if each in run.plan.recipe.export.precisions]
    return {each: read_json(run.folder / f"{each}.json") for each in made}
