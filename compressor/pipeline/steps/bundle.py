"""Everything the device needs, in one folder: the stage that puts it together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressor.pipeline import stage as stages
from compressor.pipeline.context import Run
from compressor.pipeline.stage import Stage
from compressor.pipeline.steps import export as exporting
from runtime import documents
from runtime.documents import Precision
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
    from runtime.bundle import golden, schema

    plan, found = run.plan, run.images()
    student, teacher = (
        documents.read(run.folder / f"{role}.json", schema.EncoderCard, what=role)
        for role in ("student", "teacher")
    )
    embedded = run.tensors("probes.safetensors")["student"]
    scores = metrics.ood_scores(embedded[found.rows("validation")], embedded[found.rows("train")])
    path = run.folder / "bundle.json"
    probe = documents.read(run.folder / "probe.json", schema.ProbeChoice, what="probe")
    files = [
        bundle.Deployable(f"onnx-{precision}", precision, path)
        for precision, path in exporting.deployed(run).items()
    ]
    pending: list[schema.PendingEngine] = []
    if plan.recipe.export.engines:
        files += bundle.engines_in(run.folder / exporting.ENGINES)
        pending = [
            bundle.pending(engine["flavour"], engine["precision"])
            for engine in read_json(run.folder / exporting.ENGINES / "to_build.json")
        ]
    document = schema.BundleDocument(
        name=plan.recipe.name,
        recipe=schema.RecipeName(name=plan.recipe.name, digest=plan.digest),
        classes=tuple(found.classes),
        preprocess=student.preprocess,
        # Under it, an image is less like the training images than 95 % of unseen ones of the task.
        ood_threshold=float(np.percentile(scores, 5)),
        target=documents.typed(
            {
                "name": plan.target_name,
                **plan.target.model_dump(mode="json"),
                "match": plan.target.pattern,
            },
            schema.Target,
            path,
        ),
        require=documents.typed(
            plan.recipe.require.model_dump(mode="json"), schema.Requirements, path
        ),
        teacher=teacher,
        student=student,
        probe=probe if found.classes else None,
        onnx=documents.typed(facts(run.folder / exporting.file_of("fp32")), schema.OnnxFacts, path),
        input=plan.recipe.export.input,
        precision=_decisions(run),
        engines=schema.EngineOrder(
            flavours=plan.recipe.export.engines,
            batches=exporting.batches(run),
            workspace_mb=plan.recipe.export.workspace_mb,
        ),
        engines_to_build=tuple(pending),
        artifacts=(),
    )
    held_out = golden.load(run.folder / "holdout")
    bundle.write(
        work / bundle.BUNDLE_NAME,
        document,
        files,
        held_out,
        bundle.Cap(plan.recipe.export.golden_images, plan.recipe.export.golden_mb),
    )


def _decisions(run: Run) -> dict[Precision, dict[str, Any]]:
    """How FP16 and INT8 came to be, for the report."""
    return {
        precision: read_json(run.folder / f"{precision}.json")
        for precision in run.plan.recipe.export.precisions
        if precision != "fp32"
    }
