"""Step `check`: the bundle run on this machine, the report, and the file that is recommended."""

from __future__ import annotations

import time
from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.rounds import table
from compressor.pipeline.settling import student_search, time_budget
from compressor.pipeline.shared.departures import with_departures
from compressor.pipeline.shared.learning_curve import learning_curve
from compressor.pipeline.step import Step
from compressor.pipeline.steps import probes
from compressor.pipeline.steps.bundle import DRAFT
from runtime.documents import read_json
from runtime.results.making import LearningCurve
from runtime.results.report import Report

_MEASURED = 3
"""Raise it when the same files and images give other measurements."""


def _inputs(run: Run) -> dict[str, object]:
    from runtime.benchmark.machine import describe, version_of
    from runtime.results.scores import to_json

    machine, searched = describe(), student_search.found_for(run)
    libraries = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
    return {
        "data": [run.counts(), run.pixels_digest()],
        "training": run.outputs("distill"),
        "libraries": {name: version_of(name) for name in libraries},
        "bundle": run.outputs("bundle"),
        "golden": run.outputs("golden"),
        "machine": [machine.cpu, machine.cores, machine.gpu],
        **({"student_search": to_json(searched)} if searched else {}),
        **_time_budget(run),
        **_rounds(run),
    }


def _rounds(run: Run) -> dict[str, object]:
    """The rounds of labels before this one; nothing in the first, so that no key changes by it."""
    from runtime.results.scores import to_json

    found = table.before(run)
    return {"rounds": to_json(found)} if found else {}


def _make(run: Run, work: Path) -> None:
    from export import bundle as export_bundle
    from runtime import documents
    from runtime.bundle import bundle, golden
    from runtime.evaluation.check import check
    from runtime.evaluation.recommend import judge_again
    from runtime.report import markdown
    from runtime.report.doubts import with_warnings
    from runtime.results.report import load, save, with_run
    from runtime.results.scores import to_json

    started = time.monotonic()
    draft = run.file(DRAFT)
    held_out, loaded = golden.load(run.file("holdout"), run.root), bundle.load(draft)

    def checked() -> Report:
        report = check(loaded, held_out, track=run.track)
        return _with_teacher(run, with_departures(report, loaded, held_out))

    def measure(path: Path) -> None:
        save(checked(), path.parent)

    # What is measured does not depend on the requirements: another gate is only judged again.
    described = documents.plain(loaded.document)
    kept = {key: value for key, value in described.items() if key not in ("recipe", "require")}
    said = ("bundle", "student_search", "time_budget", "rounds")
    inputs = {key: value for key, value in _inputs(run).items() if key not in said}
    measured = load(run.shared(["measured", _MEASURED, kept, inputs], "report.json", measure))
    report = judge_again(measured, loaded.document)
    if report is None:
        run.note("another file is recommended now: the files are measured again")
        report = checked()
    parts: dict[str, object] = {
        "data": {
            **run.counts(),
            "classes": run.images().classes_by_split(),
            "digest": run.pixels_digest(),
        },
        "timings_s": run.files.seconds() | {"check": round(time.monotonic() - started, 2)},
        "training": _training_summary(run),
        **_before_training(run),
    }
    if searched := student_search.found_for(run):
        parts["student_search"] = to_json(searched)
    if (curve := _learning_curve(run)) is not None:
        parts["learning_curve"] = to_json(curve)
    parts["rounds"] = to_json(table.with_this(run, report, draft / "golden"))
    export_bundle.recommend(draft, work / export_bundle.BUNDLE_NAME, report.recommended.stage)
    markdown.write(with_warnings(with_run(report, parts)), work, images=held_out.root)


def _with_teacher(run: Run, report: Report) -> Report:
    """Add the teacher's latency on this machine, to stand beside the files'."""
    from msgspec import structs

    from compressor.models.timing import time_teacher

    here, target = report.target.this_machine, run.plan.target
    provider, threads = (target.provider, target.threads) if here else ("cpu", None)
    teacher, *others = report.ledger
    latency, ran_by = time_teacher(run.plan.recipe.teacher, provider, threads)
    timed = structs.replace(teacher, latency=latency, provider=ran_by)
    return structs.replace(report, ledger=(timed, *others))


def _before_training(run: Run) -> dict[str, object]:
    """Return the scores of the student before training, and what it gained since."""
    before, gained = (read_json(run.file(name)) for name in ("before.json", "gained.json"))
    if probes.UNTRAINED in before:
        return {"untrained_student": before[probes.UNTRAINED], "gained": gained}
    return {"before_training": before, "gained": gained}


def _training_summary(run: Run) -> dict[str, object]:
    from compressor.distillation.epochs import kept_of, read_log, to_line

    spec = run.plan.recipe.distill
    epochs = read_log(run.file("train.jsonl"))
    kept = kept_of(epochs)
    return {
        **{key: getattr(spec, key) for key in ("method", "center", "seed")},
        **read_json(run.file("training.json")),
        "epochs": sum(each.epoch > 0 for each in epochs),  # 0 is the start
        "kept_epoch": kept.epoch,
        "kept": to_line(kept),
        **_time_budget(run),
    }


def _time_budget(run: Run) -> dict[str, object]:
    """Return what epochs and views were settled by, if the recipe gives a time for them."""
    found = time_budget.of_run(run)
    if found is None:
        return {}
    keys = ("minutes", "epochs", "views", "teacher", "foretold_s")
    return {"time_budget": {key: getattr(found, key) for key in keys}}


def _learning_curve(run: Run) -> LearningCurve | None:
    from compressor.distillation.epochs import kept_of, read_log
    from compressor.distillation.methods.method import method_class

    spec, epochs = run.plan.recipe.distill, read_log(run.file("train.jsonl"))
    budget, score = time_budget.of_run(run), method_class(spec.method).quality
    minutes = None if budget is None else budget.minutes
    return learning_curve(epochs, score, kept_of(epochs).epoch, spec, minutes)


STEP = Step(
    name="check",
    summary="run the bundle here: latency, parity, fidelity, verdict, the file to deploy",
    version=10,
    products=("report.json", "report.md", "report.html", "bundle"),
    needs=("images", "distill", "golden", "bundle"),
    inputs=_inputs,
    make=_make,
)
