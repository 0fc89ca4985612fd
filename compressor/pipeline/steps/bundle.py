"""Step `bundle`: everything the device needs, in one folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compressor.pipeline.context import Run
from compressor.pipeline.shared import deployed
from compressor.pipeline.step import Step
from runtime import documents
from runtime.documents import Precision, read_json

DRAFT = "draft"
"""The bundle without the file that it recommends: the step `check` finds that."""


def step(before: tuple[str, ...]) -> Step:
    """Return the step that makes the bundle of the files of some steps."""

    def inputs(run: Run) -> dict[str, object]:
        return deployed.digests(run, before) | {
            "export": run.plan.recipe.export.model_dump(mode="json"),
            "golden": run.outputs("golden"),
            "images": run.dataset_digest(),
            "probes": run.outputs("probes"),
            "teacher": run.outputs("embeddings")["teacher.json"],
            "target": [run.plan.target_name, run.plan.target.model_dump(mode="json")],
            "require": run.plan.recipe.require.model_dump(mode="json"),
            "recipe": [run.plan.recipe.name, run.plan.digest],
        }

    return Step(
        name="bundle",
        summary="everything the device needs, with a manifest",
        version=4,
        products=(),
        kept=(DRAFT,),
        needs=("images", "embeddings", "probes", "golden", *before),
        inputs=inputs,
        make=_make,
    )


def _make(run: Run, work: Path) -> None:
    from export import bundle
    from export.onnx_file import facts
    from runtime import metrics
    from runtime.bundle import golden, schema

    plan, found = run.plan, run.images()
    student, teacher = (
        documents.read(run.file(f"{role}.json"), schema.EncoderCard, what=role)
        for role in ("student", "teacher")
    )
    embedded = run.tensors("probes.safetensors")["student"]
    scores = metrics.ood_scores(embedded[found.rows("validation")], embedded[found.rows("train")])
    path = work / "bundle.json"
    probe = documents.read(run.file("probe.json"), schema.ProbeChoice, what="probe")
    files = [
        bundle.Deployable(f"onnx-{precision}", precision, path)
        for precision, path in deployed.onnx_files(run).items()
    ]
    not_made = [
        schema.FileNotMade(stage=f"onnx-{precision}", precision=precision, why=why)
        for precision, why in deployed.not_made(run).items()
    ]
    for name in plan.recipe.export.formats:
        files += bundle.converted_in(run.file(name), name)
        not_made += deployed.not_made_in(run, name)
    pending: list[schema.PendingEngine] = []
    if plan.recipe.export.engines:
        files += bundle.engines_in(run.file(deployed.ENGINES))
        not_made += deployed.not_made_in(run, deployed.ENGINES)
        pending = [
            bundle.pending(engine.flavour, engine.precision) for engine in deployed.to_build(run)
        ]
    held_out = golden.load(run.file("holdout"), run.root)
    outliers = bundle.outlier_check(held_out)
    told = outliers is None or outliers.told
    document = schema.BundleDocument(
        name=plan.recipe.name,
        recipe=schema.RecipeName(name=plan.recipe.name, digest=plan.digest),
        classes=tuple(found.classes),
        preprocess=student.preprocess,
        # Under it, an image is less like the training images than 95 % of unseen ones of the task.
        ood_threshold=float(np.percentile(scores, 5)) if told else None,
        outliers=outliers,
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
        onnx=documents.typed(facts(run.file(deployed.file_of("fp32"))), schema.OnnxFacts, path),
        input=plan.recipe.export.input,
        precision=_decisions(run),
        engines=schema.EngineOrder(
            flavours=plan.recipe.export.engines,
            batches=deployed.batches(run),
            workspace_mb=plan.recipe.export.workspace_mb,
        ),
        engines_to_build=tuple(pending),
        not_made=tuple(not_made),
        artifacts=(),
    )
    bundle.write(
        work / DRAFT,
        document,
        files,
        held_out,
        bundle.Cap(plan.recipe.export.golden_images, plan.recipe.export.golden_mb),
    )


def _decisions(run: Run) -> dict[Precision, dict[str, object]]:
    """How FP16 and INT8 came to be, for the report."""
    return {
        precision: read_json(run.file(f"{precision}.json"))
        for precision in deployed.precisions(run)
        if precision != "fp32"
    }
