"""`student.model: auto`: the most faithful student that fits `require`, before any training.

Candidates come from the target file. Each is exported at the recipe's size and timed by the
runtime, here where this machine is the target, else in a table that `python -m runtime
latency-table` measured there. Each that has weights looks once at some of the training images, and
is judged by how faithfully its closed form follows the teacher. Where none has weights, the first
that fits is taken: the target names the most capable first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET
from msgspec.structs import replace

from compressor.pipeline.context import Run
from compressor.pipeline.settling import choice, latencies
from compressor.pipeline.settling.candidates import Candidate, candidates, names
from compressor.pipeline.settling.choice import Limits, Measured
from compressor.pipeline.settling.latencies import Tried
from compressor.pipeline.storage.digests import digest
from compressor.recipe.networks import AUTO, NONE
from compressor.recipe.places.weights_folder import with_file
from compressor.recipe.plan import Plan
from compressor.recipe.schema import Student
from runtime.benchmark import machine as device
from runtime.benchmark.latency_table import first_line
from runtime.documents import plain, read_json
from runtime.errors import InputError
from runtime.files import sha256_of, write_json
from runtime.report.sections.students import candidates_table, passed_over
from runtime.results.making import MeasuredStudent, StudentSearch
from runtime.results.scores import from_json, to_json

FILE = "student_search.json"
_VERSION = 3
"""Raise it when the same measurements give another choice."""


def settled(run: Run, *, keep: bool = True) -> Run:
    """The run with a student that has a name; looked for once, then remembered in its folder.

    Args:
        run: with `student.model: auto`, or any other; its step `images` is done.
        keep: whether to look for the student and to write what was found; the folder must be locked
            then. Else one that was not found yet is only stood in for, without any pass.

    Raises:
        InputError: no candidate fits, or the table of latencies is of something else.
        MissingDependencyError: a latency is asked for, and this machine is not the target.
    """
    if run.plan.recipe.student.model != AUTO:
        return run
    found = _remembered(run)
    if found is None and not keep:
        found = _stand_in(run.plan)
        run.note(
            f"student: auto; the run chooses it by its faithfulness on these images. Here "
            f"{found.chosen} stands in for it, {found.why}"
        )
        return _named(run, found.chosen)
    if found is None:
        run.note("student: auto; searching the most faithful one that fits")
        found = replace(search(run), key=_key(run))
        write_json(run.folder / FILE, to_json(found))
    run.note(f"student: {found.chosen} ({found.why})")
    return _named(run, found.chosen)


def found_for(run: Run) -> StudentSearch | None:
    """Return the result of the search for this run's student; None if the recipe names it."""
    found = _read(run.folder / FILE)
    return found if found is not None and found.chosen == run.plan.recipe.student.model else None


def search(run: Run) -> StudentSearch:
    """Measure the candidates: which is chosen, why, and what was measured.

    Raises:
        InputError: as for `settled`.
        MissingDependencyError: as for `settled`.
    """
    latencies.require_latencies(run.plan)
    able, limits = list(candidates(run.plan, download=True)), limits_of(run.plan)
    if not any(candidate.has_weights for candidate in able):
        return _first_that_fits(run.plan, able, run.shared)
    found = survey(run, able, limits, timed=latencies.measurable(run.plan))
    return found if found.chosen else _refuse(found)


def survey(run: Run, able: Sequence[Candidate], limits: Limits, *, timed: bool) -> StudentSearch:
    """Measure every candidate, and tell which would be chosen: none if `chosen` is empty.

    Args:
        run: its step `images` is done if any candidate has weights.
        able: the candidates.
        limits: what they have to fit.
        timed: whether to measure latencies where there is no table of them.

    Raises:
        InputError: the images or the teacher are wrong, or the table of latencies is.
        MissingDependencyError: weights that are neither cached nor reachable.
    """
    from compressor.pipeline.settling.faithfulness import Sample

    tried = list[Tried]()
    for each in latencies.timings(run.plan, able, limits, timed=timed, shared=run.shared):
        tried.append(each)
        run.note(f"  {each.model}: {_told(each, limits)}")
    passed_over = {each.model: each.refused for each in tried if each.timed is None}
    sample, found = Sample(run), list[Measured]()
    for each, candidate in zip(tried, able, strict=True):
        if each.timed is None:
            continue
        faithful = None
        if "size_mb" in choice.ruled_out_by(each.timed, limits):
            run.note(f"  {each.model}: not compared, for its size")
        elif candidate.has_weights:
            sample.teacher(run.plan.recipe.teacher)  # what is wrong with it is no candidate's fault
            try:
                faithful = sample.faithfulness(candidate.spec, run.plan.recipe.teacher)
            except InputError as error:
                passed_over[each.model] = first_line(error)
                run.note(f"  {each.model}: passed over: {passed_over[each.model]}")
                continue
            run.note(f"  {each.model}: r {faithful.similarity.value:.3f}")
        else:
            run.note(f"  {each.model}: not compared; {candidate.weights}")
        found.append(Measured(each.timed, candidate.weights, faithful))
    chosen, why = choice.most_faithful(found, limits) or _first(found, limits)
    return StudentSearch(
        chosen=chosen,
        why=why,
        measured=choice.rows(found, limits),
        images=len(sample.images),
        teacher=run.plan.recipe.teacher.model,
        limits=dict(limits),
        passed_over=passed_over or UNSET,
    )


def limits_of(plan: Plan) -> dict[str, float]:
    """Return what `require` asks of a candidate."""
    require = plan.recipe.require
    asked = {"latency_p95_ms": require.latency_p95_ms, "size_mb": require.size_mb}
    return {key: value for key, value in asked.items() if value is not None}


# --- without weights -------------------------------------------------------------------------


def _first_that_fits(
    plan: Plan, able: Sequence[Candidate], shared: latencies.Shared | None = None
) -> StudentSearch:
    """Measure until one fits: none has weights, and the target names the most capable first."""
    limits, measured = limits_of(plan), list[MeasuredStudent]()
    timed, passed_over = "latency_p95_ms" in limits, dict[str, str]()
    tried = latencies.timings(plan, able, limits, timed=timed, shared=shared)
    for each, candidate in zip(tried, able, strict=False):
        if each.timed is None:
            passed_over[each.model] = each.refused
            continue
        (row,) = choice.rows([Measured(each.timed, candidate.weights, None)], limits)
        measured.append(row)
        if row.fits:
            more = len(measured) - 1
            why = f"the most capable of {len(able)} candidates {choice.words_of(limits)}"
            why += f"; {more} more capable did not" if more else ""
            return _without_weights(each.model, why, measured, passed_over)
    return _refuse(_without_weights("", "", measured, passed_over))


def _without_weights(
    chosen: str, why: str, measured: Sequence[MeasuredStudent], passed_over: dict[str, str]
) -> StudentSearch:
    return StudentSearch(
        chosen=chosen, why=why, measured=tuple(measured), passed_over=passed_over or UNSET
    )


def _first(found: Sequence[Measured], limits: Limits) -> tuple[str, str]:
    """Return the first that fits, of which none has weights; two empty texts if there is none."""
    able = [each.timed.model for each in found if choice.fits(each.timed, limits)]
    if not able:
        return "", f"none of {len(found)} candidates is one {choice.words_of(limits)}"
    why = f"the most capable of {len(able)} candidates {choice.words_of(limits)}"
    return able[0], f"{why}, none of which has weights by which it could be compared"


def _stand_in(plan: Plan) -> StudentSearch:
    """Return the first candidate that fits, as a student from scratch: no pass, no download."""
    own = plan.recipe.student.model_copy(update={"latency_table": None, "weights": NONE})
    able = [Candidate(own.model_copy(update={"model": model}), "") for model in names(plan)]
    latencies.require_latencies(plan)
    return _first_that_fits(plan, able)


def _refuse(found: StudentSearch) -> StudentSearch:
    raise InputError(
        "student.model is auto, and no candidate fits `require`:\n\n"
        + "\n".join([candidates_table(found).markdown, "", *passed_over(found)])
        + "\n  Loosen require.latency_p95_ms or require.size_mb, lower student.image_size, or "
        "name smaller models under `students:` in a target file of your own."
    )


# --- what is remembered ----------------------------------------------------------------------


def _remembered(run: Run) -> StudentSearch | None:
    found = _read(run.folder / FILE)
    return found if found is not None and found.key == _key(run) else None


def _read(path: Path) -> StudentSearch | None:
    return from_json(read_json(path), StudentSearch, path) if path.is_file() else None


def _named(run: Run, model: str) -> Run:
    student: Student = run.plan.recipe.student
    named = student.model_copy(update={"model": model, "latency_table": None})
    return run.with_sections(student=with_file(named))


def _key(run: Run) -> str:
    """Return the digest of everything that decides the choice, except the noise of timing."""
    plan, machine = run.plan, device.describe()
    student, table = plan.recipe.student, plan.recipe.student.latency_table
    compared = student.weights != NONE
    return digest(
        [
            _VERSION,
            names(plan),
            plain(latencies.setting(plan)),
            limits_of(plan),
            plan.target.match.model_dump(),
            sha256_of(table) if table is not None else [machine.cpu, machine.gpu],
            student.model_dump(mode="json", exclude={"latency_table"}),
            run.network_digest(plan.recipe.teacher) if compared else None,
            run.pixels_digest() if compared and "images" in run.files.steps else None,
        ]
    )


def _told(tried: Tried, limits: Limits) -> str:
    timed = tried.timed
    if timed is None:
        return f"passed over: {tried.refused}"
    milliseconds = "" if timed.p95_ms is None else f", p95 {timed.p95_ms:.2f} ms"
    over = choice.ruled_out_by(timed, limits)
    misfit = "".join(f", over {key} {limits[key]:g}" for key in over)
    return f"{timed.size_mb:.2f} MB{milliseconds}{misfit}"
