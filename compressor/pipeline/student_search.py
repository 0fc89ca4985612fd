"""`student.model: auto`: the most capable student that fits `require`, before any training.

Candidates come from the target file, the most capable first. Each is made untrained at the recipe's
size, exported to ONNX and timed by the runtime, here where this machine is the target, else in a
table that `python -m runtime latency-table` measured there. The first that fits is taken.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import asdict, replace

from compressor.pipeline.context import Run
from compressor.pipeline.storage.digests import digest
from compressor.recipe.plan import Plan
from compressor.recipe.schema import Student
from runtime.benchmark import latency_table
from runtime.benchmark import machine as device
from runtime.benchmark.latency_table import CandidateFile, Candidates, Setting, Timed
from runtime.documents import plain, read
from runtime.errors import InputError, MissingDependencyError
from runtime.files import sha256_of, write_json
from runtime.results.making import MeasuredStudent, StudentSearch
from runtime.text import table

AUTO = "auto"
FILE = "student_search.json"


def settled(run: Run, *, keep: bool = True) -> Run:
    """The run with a student that has a name; looked for once, then remembered in its folder.

    Args:
        run: with `student.model: auto`, or any other.
        keep: whether to write what was found; the folder must be locked then.

    Raises:
        InputError: no candidate fits, or the table of latencies is of something else.
        MissingDependencyError: a latency is asked for, and this machine is not the target.
    """
    recipe = run.plan.recipe
    if recipe.student.model != AUTO:
        return run
    path, key = run.folder / FILE, _key(run.plan)
    found = _read(path)
    if found is None or found.key != key:
        run.note("student: auto; searching the most capable one that fits")
        found = replace(search(run.plan, run.note), key=key)
        if keep:
            write_json(path, plain(found))
    run.note(f"student: {found.chosen} ({found.why})")
    student = recipe.student.model_copy(update={"model": found.chosen, "latency_table": None})
    chosen = recipe.model_copy(update={"student": student})
    return Run(dataclasses.replace(run.plan, recipe=chosen), run.folder, run.observer)


def found_for(run: Run) -> StudentSearch | None:
    """Return the result of the search for this run's student; None if the recipe names it."""
    found = _read(run.folder / FILE)
    return found if found is not None and found.chosen == run.plan.recipe.student.model else None


def _read(path: Path) -> StudentSearch | None:
    return read(path, StudentSearch, what="search for a student") if path.is_file() else None


def search(plan: Plan, note: Callable[[str], None]) -> StudentSearch:
    """Try the candidates in their order: which is chosen, why, and what was measured.

    Raises:
        InputError: as for `settled`.
        MissingDependencyError: as for `settled`.
    """
    require, rows = plan.recipe.require, list[MeasuredStudent]()
    for timed in _timings(plan):
        row = MeasuredStudent(**asdict(timed), fits=_fits(timed, plan))
        rows.append(row)
        note(f"  {timed.model}: {_told(timed)}{'' if row.fits else ', does not fit'}")
        if row.fits:
            gates = {"latency_p95_ms": require.latency_p95_ms, "size_mb": require.size_mb}
            asked = ", ".join(f"{key} {value:g}" for key, value in gates.items() if value)
            passed_over = len(rows) - 1
            why = f"the most capable of {len(candidates(plan))} candidates that fits {asked}"
            why += f"; {passed_over} more capable did not" if passed_over else ""
            return StudentSearch(chosen=timed.model, why=why, measured=tuple(rows))
    cells = [[row.model, f"{row.size_mb:.2f}", _milliseconds(row.p95_ms)] for row in rows]
    raise InputError(
        "student.model is auto, and no candidate fits `require`:\n\n"
        + table(["model", "MB", "p95 ms"], cells)
        + "\n\n  Loosen require.latency_p95_ms or require.size_mb, lower student.image_size, or "
        "name smaller models under `students:` in a target file of your own."
    )


def candidates(plan: Plan) -> tuple[str, ...]:
    """Names of timm models, the most capable first."""
    return plan.target.students


def write_candidates(plan: Plan, folder: Path, note: Callable[[str], None]) -> None:
    """Export every candidate, untrained, to be timed on the device.

    Raises:
        InputError: a model of the target file is none of timm's.
    """
    models = []
    for model in candidates(plan):
        note(f"exporting {model}")
        path = folder / f"{model}.onnx"
        _export(plan.recipe.student, model, path)
        models.append(CandidateFile(model, path.name, sha256_of(path)))
    document = Candidates(**asdict(_setting(plan)), models=tuple(models))
    write_json(folder / latency_table.CANDIDATES, plain(document))


def _timings(plan: Plan) -> Iterator[Timed]:
    """Sizes and, where a latency is asked for, latencies of the candidates in their order."""
    spec, target = plan.recipe.student, plan.target
    if spec.latency_table is not None:
        yield from _from_table(plan, spec.latency_table)
        return
    timed = plan.recipe.require.latency_p95_ms is not None
    if timed and not device.matches(device.describe(), target.pattern):
        raise MissingDependencyError(
            f"student.model is auto, and this machine is not the target {plan.target_name}: its "
            "latencies say nothing about it.\n"
            "  Here:       compressor candidates RECIPE --out candidates\n"
            "  There:      python -m runtime latency-table candidates\n"
            "  Then here:  student.latency_table: latency.json"
        )
    setting = _setting(plan)
    for model in candidates(plan):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{model}.onnx"
            _export(spec, model, path)
            yield latency_table.time_model(model, path, setting) if timed else _sized(model, path)


def _sized(model: str, path: Path) -> Timed:
    return Timed(model, path.stat().st_size / 1e6, None, None, None)


def _from_table(plan: Plan, path: Path) -> Iterator[Timed]:
    measured, setting = latency_table.load(path), asdict(_setting(plan))
    others = {key: getattr(measured, key) for key in setting}
    if differing := [key for key in setting if others[key] != setting[key]]:
        shown = ", ".join(f"{key} {others[key]}, not {setting[key]}" for key in differing)
        raise InputError(f"{path}: measured at {shown}. Export the candidates and measure again.")
    if not device.matches(measured.machine, plan.target.pattern):
        raise InputError(f"{path}: not measured on the target {plan.target_name}")
    known = {timed.model: timed for timed in measured.models}
    if missing := [model for model in candidates(plan) if model not in known]:
        raise InputError(f"{path}: lacks {', '.join(missing)}; export the candidates again")
    yield from (known[model] for model in candidates(plan))


def _setting(plan: Plan) -> Setting:
    return Setting(
        image_size=plan.recipe.student.image_size,
        embedding=plan.recipe.student.embedding,
        batch=plan.target.batches[0],
        provider=plan.target.provider,
        threads=plan.target.threads,
    )


def _key(plan: Plan) -> str:
    """Return the digest of everything that decides the choice, except the noise of timing."""
    require, path = plan.recipe.require, plan.recipe.student.latency_table
    machine = device.describe()
    return digest(
        [
            candidates(plan),
            plain(_setting(plan)),
            [require.latency_p95_ms, require.size_mb],
            plan.target.match.model_dump(),
            sha256_of(path) if path is not None else [machine.cpu, machine.gpu],
        ]
    )


def _fits(timed: Timed, plan: Plan) -> bool:
    require = plan.recipe.require
    small = require.size_mb is None or timed.size_mb <= require.size_mb
    limit = require.latency_p95_ms
    return small and (limit is None or (timed.p95_ms is not None and timed.p95_ms <= limit))


def _export(spec: Student, model: str, path: Path) -> None:
    from compressor.models.encoder import create_student
    from export.onnx_file import Deployed, export

    student = create_student(spec.model_copy(update={"model": model, "weights": "none"}), seed=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    export(Deployed(student.module, None), student.preprocess.size_px, path, {"model": model})


def _told(timed: Timed) -> str:
    milliseconds = "" if timed.p95_ms is None else f", p95 {timed.p95_ms:.2f} ms"
    return f"{timed.size_mb:.2f} MB{milliseconds}"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
