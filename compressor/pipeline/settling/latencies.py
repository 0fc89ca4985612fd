"""Sizes and latencies of candidates: measured here where this is the target, else from a table.

Each candidate is exported to ONNX at the recipe's size, before any training: what it will learn
changes neither size nor time.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from compressor.pipeline.settling.candidates import Candidate, candidates, names
from compressor.pipeline.settling.choice import Limits
from compressor.recipe.plan import Plan
from compressor.recipe.schema import Student
from runtime.benchmark import latency_table
from runtime.benchmark import machine as device
from runtime.benchmark.latency_table import CandidateFile, Candidates, Setting, Timed, first_line
from runtime.documents import plain, read
from runtime.errors import InputError, MissingDependencyError
from runtime.files import sha256_of, write_json

Shared = Callable[[object, str, Callable[[Path], None]], Path]
"""As `Run.shared`: a file that is made if none of this key is kept."""
_MEASURED = 2
"""Raise it when the same candidate gives another size or latency."""


class Tried(Struct, frozen=True):
    """A candidate's size and latency; or why it cannot be built, exported or run."""

    model: str
    timed: Timed | None
    refused: str = ""


def write_candidates(plan: Plan, folder: Path, note: Callable[[str], None]) -> None:
    """Export every candidate, untrained, to be timed on the device; name those that cannot be.

    Raises:
        InputError: a model of the target file is none of timm's, or none can be exported.
    """
    models, refused, from_scratch = [], dict[str, str](), list[str]()
    for candidate in candidates(plan, download=True):
        model = candidate.spec.model
        if not candidate.has_weights:
            from_scratch.append(model)
        note(f"exporting {model}")
        path = folder / f"{model}.onnx"
        try:
            _export(candidate.spec, path)
        except InputError as error:
            refused[model] = first_line(error)
            note(f"  passed over: {refused[model]}")
            path.unlink(missing_ok=True)
            continue
        models.append(CandidateFile(model, path.name, sha256_of(path)))
    if not models:
        told = "".join(f"\n  {model}: {why}" for model, why in refused.items())
        raise InputError(f"no candidate of {plan.target_name} can be exported:{told}")
    document = Candidates(
        **asdict(setting(plan)),
        models=tuple(models),
        refused=refused,
        from_scratch=tuple(from_scratch),
    )
    write_json(folder / latency_table.CANDIDATES, plain(document))


def measurable(plan: Plan) -> bool:
    """Whether the latencies on the target are known or can be measured here."""
    table = plan.recipe.student.latency_table
    return table is not None or device.matches(device.describe(), plan.target.pattern)


def require_latencies(plan: Plan) -> None:
    """Refuse early what the search would refuse: a latency that nobody can know here.

    Raises:
        InputError: the table of latencies is of something else.
        MissingDependencyError: a latency is asked for, and this machine is not the target.
    """
    if plan.recipe.student.latency_table is not None:
        _table(plan, plan.recipe.student.latency_table)
    elif plan.recipe.require.latency_p95_ms is not None and not measurable(plan):
        raise MissingDependencyError(
            f"student.model is auto, and this machine is not the target {plan.target_name}: its "
            "latencies say nothing about it.\n"
            "  Here:       compressor candidates RECIPE --out candidates\n"
            "  There:      python -m runtime latency-table candidates\n"
            "  Then here:  student.latency_table: latency.json"
        )


def timings(
    plan: Plan,
    found: Sequence[Candidate],
    limits: Limits,
    *,
    timed: bool,
    shared: Shared | None = None,
) -> Iterator[Tried]:
    """Yield sizes and, if they are to be timed or a table has them, latencies, in their order.

    One whose file is too large is not timed: its latency could change nothing. One that cannot be
    built at this size, exported or run comes with the reason instead.

    Args:
        plan: of the recipe.
        found: the candidates.
        limits: what they have to fit.
        timed: whether to measure latencies where there is no table of them.
        shared: keeps what is measured for other searches on this machine; None keeps nothing.

    Raises:
        InputError: as for `require_latencies`.
    """
    if plan.recipe.student.latency_table is not None:
        known = _table(plan, plan.recipe.student.latency_table, found)
        yield from (known[candidate.spec.model] for candidate in found)
        return
    how, most = setting(plan), limits.get("size_mb", math.inf)
    for candidate in found:
        if shared is None:
            yield _measured(candidate.spec, how, most, timed=timed)
            continue

        def make(path: Path, candidate: Candidate = candidate) -> None:
            write_json(path, plain(_measured(candidate.spec, how, most, timed=timed)))

        key = [*_key(candidate, how), timed, most]
        yield read(shared(key, "candidate.json", make), Tried, what="measured candidate")


def _measured(spec: Student, how: Setting, most_mb: float, *, timed: bool) -> Tried:
    """Export a candidate; time it if it is to be timed, and not too large."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{spec.model}.onnx"
        try:
            _export(spec, path)
            size_mb = path.stat().st_size / 1e6
            if timed and size_mb <= most_mb:
                return Tried(spec.model, latency_table.time_model(spec.model, path, how))
        except InputError as error:
            return Tried(spec.model, None, first_line(error).replace(f"{folder}/", ""))
    return Tried(spec.model, Timed(spec.model, size_mb, None, None, None))


def _key(candidate: Candidate, how: Setting) -> list[object]:
    """What decides the size and the latency of a candidate: with weights it has more stages."""
    machine = device.describe()
    network = candidate.spec.model_dump(mode="json", exclude={"weights"})
    versions = {name: machine.libraries.get(name) for name in ("onnxruntime", "timm", "torch")}
    return [
        "candidate", _MEASURED, network, candidate.has_weights, plain(how), versions,
        [machine.cpu, machine.cores, machine.gpu],
    ]  # fmt: skip


def setting(plan: Plan) -> Setting:
    """Return how candidates are timed."""
    return Setting(
        image_size=plan.recipe.student.image_size,
        embedding=plan.recipe.student.embedding,
        stages=plan.recipe.student.stages,
        args=plan.recipe.student.args,
        batch=plan.target.batches[0],
        provider=plan.target.provider,
        threads=plan.target.threads,
    )


def _table(plan: Plan, path: Path, found: Sequence[Candidate] = ()) -> dict[str, Tried]:
    """Return what a table says of each model.

    Raises:
        InputError: it is of other candidates than those found, or of another setting or machine.
    """
    measured, wanted = latency_table.load(path), asdict(setting(plan))
    others = {key: getattr(measured, key) for key in wanted}
    if differing := [key for key in wanted if others[key] != wanted[key]]:
        shown = ", ".join(f"{key} {others[key]}, not {wanted[key]}" for key in differing)
        raise InputError(f"{path}: measured at {shown}. Export the candidates and measure again.")
    if not device.matches(measured.machine, plan.target.pattern):
        raise InputError(f"{path}: not measured on the target {plan.target_name}")
    untrained = measured.from_scratch
    if untrained is not None and (
        other := [each for each in found if each.has_weights == (each.spec.model in untrained)]
    ):
        was = "with" if not other[0].has_weights else "without"
        raise InputError(
            f"{path}: {other[0].spec.model} was measured {was} weights, which is another network. "
            "Export the candidates and measure again."
        )
    known = {timed.model: Tried(timed.model, timed) for timed in measured.models}
    known |= {model: Tried(model, None, why) for model, why in measured.refused.items()}
    if missing := [model for model in names(plan) if model not in known]:
        raise InputError(f"{path}: lacks {', '.join(missing)}; export the candidates again")
    return known


def _export(spec: Student, path: Path) -> None:
    from compressor.models.encoder import create_student
    from compressor.pipeline.settling.export_trial import export_as_is

    path.parent.mkdir(parents=True, exist_ok=True)
    export_as_is(create_student(spec, seed=0), path, {"model": spec.model})
