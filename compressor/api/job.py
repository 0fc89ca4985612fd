"""A whole job in order: open the recipe, find a student, fail early, run, return the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressor.api.result import RunResult
from compressor.data.devices.copied import Copied
from compressor.events import Observer
from compressor.observers import event_log
from compressor.observers.event_log import EventLog
from compressor.observers.fan_out import fan_out
from compressor.observers.tracking import registry as trackers
from compressor.pipeline import dry_run, labelling, runner, simulation_report
from compressor.pipeline.context import Run
from compressor.pipeline.dry_run import DryRun
from compressor.pipeline.rounds import measuring, returned
from compressor.pipeline.rounds import table as rounds
from compressor.pipeline.settling import latencies, student_search, time_budget
from compressor.pipeline.settling import weights as settled_weights
from compressor.pipeline.settling.training_defaults import keep_disk_limit, with_training_defaults
from compressor.pipeline.steps import images, selection
from compressor.pipeline.storage.run_files import require_own
from compressor.recipe import plan as plans
from compressor.recipe.document import dump
from compressor.recipe.networks import AUTO
from runtime import documents
from runtime.errors import InputError
from runtime.files import size_of, write_json, write_text
from runtime.results.report import load
from runtime.text import command

_REPORTS = ("report.json", "report.html", "report.md")


def open_job(
    recipe: Path,
    assignments: Sequence[str],
    out: Path | None,
    observer: Observer,
    *,
    given_as: str = "--set",
    track: Sequence[str] = (),
) -> Run:
    """Read a recipe into a run that has not begun. Writes nothing.

    Args:
        recipe: the YAML file.
        assignments: changes of it, such as `distill.epochs=2`.
        out: the run's folder; None: `runs/NAME`.
        observer: receives the events; `events.jsonl` in the folder receives them too.
        given_as: what messages call a change.
        track: experiment trackers by name, which receive the run too.

    Raises:
        InputError: with file, line and key of every mistake; or no tracker has this name.
        MissingDependencyError: a tracker is not installed.
    """
    trackers.require(track)
    plan = plans.load(recipe, assignments, given_as=given_as)
    folder = out if out is not None else Path("runs") / plan.recipe.name
    observer = fan_out(EventLog(folder / event_log.FILE), observer)
    return Run(plan, folder, observer=fan_out(observer, *trackers.observers(track, observer)))


def reopen_job(folder: Path, observer: Observer) -> Run:
    """Read the recipe of a run folder again, as it was run there. Writes nothing.

    Raises:
        InputError: this is not the folder of a run, or its student is not finished.
    """
    origin = plans.read_origin(folder)
    job = open_job(Path(origin.path), origin.overrides, folder, observer)
    again = command("compressor", "run", Path(origin.path), "--out", folder)
    if not runner.learnt(time_budget.remembered(_settled(job, keep=False))):
        raise InputError(
            f"{folder}: its student is not finished, or recipe, images or code have changed since."
            f"\n  This makes it again: {again}"
        )
    return job


def complete(job: Run) -> RunResult:
    """Run every step that is not up to date, from the images to the report.

    Raises:
        InputError: recipe, images, labels or weights are wrong, or the folder is not free.
        MissingDependencyError: this machine lacks a package, GPU, weights or disk space.
    """
    _say_images(job)
    student, asked = job.plan.recipe.student, job.plan.recipe.distill
    if AUTO in (student.model, student.weights):
        with job.locked():
            if student.model == AUTO:  # it is chosen by what it makes of the images
                latencies.require_latencies(job.plan)
                runner.refuse_teacher_early(job)
                runner.run_images(job)
            job = _settled(job)
    job = with_training_defaults(job)
    runner.refuse_early(job)
    with job.locked():
        keep_disk_limit(job, asked)
        if job.plan.recipe.distill.minutes is not None:
            job = _within_minutes(job)
    with job.locked():
        _write_recipe(job)
        if runner.run_all(job) == "waiting":
            return _waiting(job)
        if line := time_budget.told(job):
            job.note(line)
        rounds.save(job.folder, load(job.folder))
    return _done(job)


def choose_images(
    job: Run, more: int | None, device: Path | None = None, held_out: int | None = None
) -> RunResult:
    """Choose which images to label next, and write the page, the table and the tasks to label.

    Args:
        job: an open job.
        more: how many beyond those labelled or proposed; None: up to the recipe's budget.
        device: the folder of a monitor, whose images are copied and chosen from.
        held_out: how many held-out images shall have a label in all; without `more`, no other
            image is added.

    Raises:
        InputError: as for `complete`; or a file with labels cannot be read, or the device's folder
            has no image that can be used.
        MissingDependencyError: openTSNE, kmedoids or scikit-learn is not installed.
    """
    selection.require_packages()
    _say_images(job)
    job = _with_weights(job)
    runner.refuse_teacher_early(job)
    with job.locked():
        _write_recipe(job)
        brought = None if device is None else returned.bring(job, device)
        if held_out is not None:
            runner.run_images(job)
            measuring.ask(job, held_out)
            if more is None and device is None and len(selection.labelling_state(job).settled):
                more = 0
        runner.run_selection(job, more, among=None if brought is None else brought.images)
        return _waiting(job, brought=brought)


def simulate_labelling(job: Run) -> dict[str, Any]:
    """Measure on labelled images what each strategy would have given; writes simulate.*.

    Raises:
        InputError: as for `complete`; or there are too few images.
        MissingDependencyError: as for `choose_images`.
    """
    selection.require_packages()
    _say_images(job)
    job = _with_weights(job)
    runner.refuse_teacher_early(job)
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
    require_own(job.folder)
    images.look(job)  # what is wrong with the folders is said before anything is measured
    return dry_run.rehearse(_settled(job, keep=False))


def assignments_of(overrides: Mapping[str, object]) -> list[str]:
    """Return changes of a recipe, `{"distill.epochs": 2}`, as `key=value`."""
    return [f"{key}={json.dumps(value, default=str)}" for key, value in overrides.items()]


def _say_images(job: Run) -> None:
    """Send the classes and their counts first, so that a person sees a mistake at once.

    Raises:
        InputError: the run's folder is not free, or folders or labels do not say which class an
            image has.
    """
    require_own(job.folder)
    for line in images.look(job).lines:
        job.note(line)


def _settled(job: Run, *, keep: bool = True) -> Run:
    """Return the job with a named student, named weights, and the defaults that suit them."""
    named = student_search.settled(job, keep=keep)
    return with_training_defaults(settled_weights.settled(named, keep=keep))


def _within_minutes(job: Run) -> Run:
    """Return the job with epochs and views that fit `distill.minutes`.

    The images are found first. A run that will wait for labels trains nothing yet.
    """
    runner.run_images(job)
    return job if selection.short(job) else time_budget.settled(job)


def _with_weights(job: Run) -> Run:
    """Return the job of a choice of images, which settles no student but says what it has.

    A student to be looked for stays as it is: looking for it may need the target.
    """
    if job.plan.recipe.student.model == AUTO:
        return job
    return with_training_defaults(settled_weights.settled(job, keep=False))


def _write_recipe(job: Run) -> None:
    write_json(job.folder / plans.ORIGIN, documents.plain(job.plan.origin))
    write_text(job.folder / "recipe.resolved.yaml", dump(job.plan.recipe.resolved()))


def _done(job: Run) -> RunResult:
    from runtime.report import markdown

    report, bundle = load(job.folder), job.folder / "bundle"
    files = {name: job.folder / name for name in _REPORTS}
    return RunResult(
        name=job.plan.recipe.name,
        outcome="done",
        folder=job.folder,
        files={
            **files,
            "bundle": bundle,
            "student": job.folder / "student.safetensors",
            "backbone": job.folder / "student.backbone.safetensors",
        },
        report=report,
        selection=None,
        summary=f"{job.plan.recipe.name}: {markdown.verdict_line(report)}\n"
        f"  report  {job.folder / 'report.html'} (and .md, .json)\n"
        f"  bundle  {bundle} ({size_of(bundle) / 1e6:.1f} MB)",
        next_step="Next: copy the bundle to the device, and run there\n"
        "  python -m runtime check bundle",
    )


def _waiting(job: Run, *, brought: Copied | None = None) -> RunResult:
    document = labelling.write_files(job)
    return RunResult(
        name=job.plan.recipe.name,
        outcome="waiting for labels",
        folder=job.folder,
        files={kind: Path(path) for kind, path in document.files.items()},
        report=None,
        selection=document.selection,
        summary=labelling.text(document, job).lstrip("\n"),
        next_step=labelling.next_step(document, job, came_back=brought is not None),
    )
