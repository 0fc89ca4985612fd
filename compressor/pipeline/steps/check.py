"""Step `check`: the bundle run on this machine, and the report."""

from __future__ import annotations

import time
from pathlib import Path

from compressor.pipeline import student_search
from compressor.pipeline.context import Run
from compressor.pipeline.step import Step
from runtime.documents import plain
from runtime.files import read_json


def _inputs(run: Run) -> dict[str, object]:
    from runtime.benchmark.machine import describe, version_of

    machine = describe()
    libraries = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
    return {
        "data": [run.counts(), run.pixels_digest()],
        "training": run.outputs("distill"),
        "libraries": {name: version_of(name) for name in libraries},
        "bundle": run.outputs("bundle"),
        "golden": run.outputs("golden"),
        "machine": [machine.cpu, machine.cores, machine.gpu],
    }


def _make(run: Run, work: Path) -> None:
    from runtime import documents
    from runtime.bundle import bundle, golden
    from runtime.evaluation.check import check, judge_again
    from runtime.report import markdown
    from runtime.results.report import load, save, with_run

    started = time.monotonic()
    held_out, loaded = golden.load(run.file("holdout")), bundle.load(run.file("bundle"))

    def measure(path: Path) -> None:
        save(check(loaded, held_out, track=run.track), path.parent)

    # What is measured does not depend on the requirements: another gate is only judged again.
    described = documents.plain(loaded.document)
    kept = {key: value for key, value in described.items() if key not in ("recipe", "require")}
    inputs = {key: value for key, value in _inputs(run).items() if key != "bundle"}
    measured = load(run.shared(["measured", STEP.version, kept, inputs], "report.json", measure))
    report = judge_again(measured, loaded.document)
    if report is None:
        run.note("another file is recommended now: the files are measured again")
        report = check(loaded, held_out, track=run.track)
    parts: dict[str, object] = {
        "data": {**run.counts(), "digest": run.pixels_digest()},
        "timings_s": run.files.seconds() | {"check": round(time.monotonic() - started, 2)},
        "training": _training_summary(run),
        "untrained_student": read_json(run.file("untrained.json")),
    }
    if searched := student_search.found_for(run):
        parts["student_search"] = plain(searched)
    markdown.write(with_run(report, parts), work, images=held_out.root)


def _training_summary(run: Run) -> dict[str, object]:
    from compressor.distillation.epochs import read_log, to_line

    spec = run.plan.recipe.distill
    epochs = read_log(run.file("train.jsonl"))
    kept = next((epoch for epoch in reversed(epochs) if epoch.best_so_far), epochs[-1])
    return {
        **{key: getattr(spec, key) for key in ("method", "center", "seed")},
        **read_json(run.file("training.json")),
        "epochs": len(epochs),
        "kept_epoch": kept.epoch,
        "kept": to_line(kept),
    }


STEP = Step(
    name="check",
    summary="run the bundle here: latency, parity, fidelity, verdict",
    version=1,
    products=("report.json", "report.md", "report.html"),
    needs=("images", "distill", "golden", "bundle"),
    inputs=_inputs,
    make=_make,
)
