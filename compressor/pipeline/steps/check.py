"""What is held against the device, and the report: the first and the last of the way out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor.pipeline import stage as stages
from compressor.pipeline import student_search
from compressor.pipeline.context import Run
from compressor.pipeline.stage import Stage
from compressor.pipeline.steps import bundle as bundling
from compressor.pipeline.steps import export, learn, prepare
from compressor.pipeline.steps import golden as golden_set
from runtime.files import read_json

if TYPE_CHECKING:
    pass


MAX_BANK = 20_000
"""Training embeddings that the kNN and the OOD score search, at most; labelled ones come first."""


# --- check -----------------------------------------------------------------------------------


def _check_inputs(run: Run) -> dict[str, Any]:
    from runtime.benchmark.machine import describe, version_of

    machine = describe()
    libraries = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
    return {
        "data": [run.counts(), run.pixels_digest()],
        "training": stages.outputs_digest("distill", run.folder),
        "libraries": {name: version_of(name) for name in libraries},
        "bundle": stages.outputs_digest("bundle", run.folder),
        "golden": stages.outputs_digest("golden", run.folder),
        "machine": [machine.cpu, machine.cores, machine.gpu],
    }


def _make_check(run: Run, work: Path) -> None:
    from runtime.bundle import bundle, golden
    from runtime.evaluation.check import check
    from runtime.report import markdown
    from runtime.results.report import with_run

    started = time.monotonic()
    held_out = golden.load(run.folder / "holdout")
    report = check(bundle.load(run.folder / "bundle"), held_out, track=run.track)
    chain = (*prepare.STAGES, *learn.STAGES, *way(run))
    before = [stage.name for stage in chain if stage.name != "check"]
    parts = {
        "data": {**run.counts(), "digest": run.pixels_digest()},
        "timings_s": {
            **{name: stages.seconds_of(name, run.folder) for name in before},
            "check": round(time.monotonic() - started, 2),
        },
        "training": _training_summary(run),
        "untrained_student": read_json(run.folder / "untrained.json"),
    }
    if searched := student_search.found_for(run):
        parts["student_search"] = searched
    markdown.write(with_run(report, parts), work, images=held_out.root)


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


_CHECK: Stage[Run] = Stage(
    name="check",
    summary="run the bundle here: latency, parity, fidelity, verdict",
    outputs=("report.json", "report.md", "report.html"),
    needs=("images", "distill", "golden", "bundle"),
    inputs=_check_inputs,
    make=_make_check,
    code=("compressor.pipeline.steps.check",),
)


def way(run: Run) -> tuple[Stage[Run], ...]:
    """From the golden set over the files that the recipe asks for to the report."""
    return (*golden_set.STAGES, *export.way(run), bundling.stage(run), _CHECK)
