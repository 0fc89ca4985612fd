"""A whole job in order: open the recipe, find a student, fail early, run, return the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressor.api.result import RunResult
from compressor.events import Observer
from compressor.observers import event_log
from compressor.observers.event_log import EventLog
from compressor.observers.fan_out import fan_out
from compressor.pipeline import dry_run, labelling, runner, simulation_report
from compressor.pipeline.context import Run
from compressor.pipeline.dry_run import DryRun
from compressor.pipeline.steps import selection
from compressor.pipeline.student_search import AUTO, settled
from compressor.recipe import plan as plans
from compressor.recipe.document import dump
from runtime import documents
from runtime.errors import InputError
from runtime.files import size_of, write_json, write_text

_REPORTS = ("report.json", "report.html", "report.md")


def open_job(
    recipe: Path,
    assignments: Sequence[str],
    out: Path | None,
    observer: Observer,
    *,
    given_as: str = "--set",
) -> Run:
    """Read a recipe into a run that has not begun. Writes nothing.

    Args:
        recipe: the YAML file.
        assignments: changes of it, such as `distill.epochs=2`.
        out: the run's folder; None: `runs/NAME`.
        observer: receives the events; `events.jsonl` in the folder receives them too.
        given_as: what messages call a change.

    Raises:
        InputError: with file, line and key of every mistake.
    """
    plan = plans.load(recipe, assignments, given_as=given_as)
    folder = out if out is not None else Path("runs") / plan.recipe.name
    return Run(plan, folder, observer=fan_out(EventLog(folder / event_log.FILE), observer))


def reopen_job(folder: Path, observer: Observer) -> Run:
    """Read the recipe of a run folder again, as it was run there. Writes nothing.

    Raises:
        InputError: this is not the folder of a run, or its student is not finished.
    """
    origin = plans.read_origin(folder)
    job = open_job(Path(origin.path), origin.overrides, folder, observer)
    if not runner.learnt(settled(job, keep=False)):
        raise InputError(
            f"{folder}: its student is not finished, or recipe, images or code have changed since."
            f"\n  compressor run {origin.path} --out {folder} makes it again."
        )
    return job


def complete(job: Run) -> RunResult:
    """Run every step that is not up to date, from the images to the report.

    Raises:
        InputError: recipe, images, labels or weights are wrong, or the folder is not free.
        MissingDependencyError: this machine lacks a package, GPU, weights or disk space.
    """
    if job.plan.recipe.student.model == AUTO:
        with job.locked():
            job = settled(job)
    runner.refuse_early(job)
    with job.locked():
        _write_recipe(job)
        if runner.run_all(job) == "waiting":
            return _waiting(job)
    return _done(job)


def choose_images(job: Run, more: int | None) -> RunResult:
    """Choose which images to label next, and write the page, the table and the tasks to label.

    Args:
        job: an open job.
        more: how many beyond those labelled or proposed; None: up to the recipe's budget.

    Raises:
        InputError: as for `complete`; or a file with labels cannot be read.
        MissingDependencyError: openTSNE, kmedoids or scikit-learn is not installed.
    """
    selection.require_packages()
    with job.locked():
        _write_recipe(job)
        runner.run_selection(job, more)
        return _waiting(job)


def simulate_labelling(job: Run) -> dict[str, Any]:
    """Measure on labelled images what each strategy would have given; writes simulate.*.

    Raises:
        InputError: as for `complete`; or there are too few images.
        MissingDependencyError: as for `choose_images`.
    """
    selection.require_packages()
    with job.locked():
        _write_recipe(job)
        runner.run_embeddings(job)
        return simulation_report.write(job)


def rehearse(job: Run) -> DryRun:
    """Estimate what a run would do and about how long it takes. Writes nothing.

    Raises:
        InputError: as for `complete`.
        MissingDependencyError: as for `complete`.
    """
    return dry_run.rehearse(settled(job, keep=False))


def assignments_of(overrides: Mapping[str, object]) -> list[str]:
    """Return changes of a recipe, `{"distill.epochs": 2}`, as `key=value`."""
    return [f"{key}={json.dumps(value, default=str)}" for key, value in overrides.items()]


def _write_recipe(job: Run) -> None:
    write_json(job.folder / plans.ORIGIN, documents.plain(job.plan.origin))
    write_text(job.folder / "recipe.resolved.yaml", dump(job.plan.recipe.resolved()))


def _done(job: Run) -> RunResult:
    from runtime.report import markdown
    from runtime.results.report import load

    report, bundle = load(job.folder), job.folder / "bundle"
    files = {name: job.folder / name for name in _REPORTS}
    return RunResult(
        name=job.plan.recipe.name,
        outcome="done",
        folder=job.folder,
        files={**files, "bundle": bundle, "student": job.folder / "student.safetensors"},
        report=report,
        selection=None,
        summary=f"{job.plan.recipe.name}: {markdown.verdict_line(report)}\n"
        f"  report  {job.folder / 'report.html'} (and .md, .json)\n"
        f"  bundle  {bundle} ({size_of(bundle) / 1e6:.1f} MB)",
        next_step="Next: copy the bundle to the device, and run there\n"
        "  python -m runtime check bundle",
    )


def _waiting(job: Run) -> RunResult:
    document = labelling.write_files(job)
    return RunResult(
        name=job.plan.recipe.name,
        outcome="waiting for labels",
        folder=job.folder,
        files={kind: Path(path) for kind, path in document.files.items()},
        report=None,
        selection=document.selection,
        summary=labelling.text(document, job).lstrip("\n"),
        next_step=labelling.next_step(document, job),
    )
