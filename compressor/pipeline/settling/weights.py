"""`student.weights: auto` for a run: settled once, before any image is read, and remembered.

A run that began without weights does not change to others because a network came back: its student
would be trained anew by a command that only continues. Another section `student:` settles anew.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from compressor.pipeline.context import Run
from compressor.pipeline.storage.digests import digest
from compressor.recipe.networks import AUTO, HUB, NONE
from runtime.documents import plain, read
from runtime.errors import MissingDependencyError
from runtime.files import write_json

FILE = "student_weights.json"


class SettledWeights(Struct, frozen=True, kw_only=True):
    """student_weights.json in the folder of a run."""

    key: str
    """Digest of the section `student:` that it was settled for."""
    weights: str
    """`hub`, `none`, or a file."""
    why: str


def settled(run: Run, *, keep: bool = True) -> Run:
    """Return the run with a student whose weights are named: `hub`, a file, or `none`.

    Args:
        run: with a student that has a name; its weights may be `auto`.
        keep: whether to fetch weights now and to remember the choice; the folder must be locked
            then. Else nothing is written.

    Raises:
        InputError: timm knows no such model.
        MissingDependencyError: weights that were settled earlier are gone.
    """
    from compressor.models.student_weights import choose

    spec = run.plan.recipe.student
    if spec.weights != AUTO:
        return run
    path, key = run.folder / FILE, digest(spec.model_dump(mode="json"))
    found = read(path, SettledWeights, what="choice of weights") if path.is_file() else None
    if found is None or found.key != key:
        choice = choose(spec, download=keep)
        choice.tell(run.reporter)
        found = SettledWeights(key=key, weights=choice.weights, why=choice.why)
        if keep:
            write_json(path, plain(found))
    else:
        _remember(run, found)
    return run.with_sections(student=spec.model_copy(update={"weights": found.weights}))


def _remember(run: Run, found: SettledWeights) -> None:
    """Say what was settled when the run began; for `none`, whether there are weights by now."""
    if found.weights not in (HUB, NONE) and not Path(found.weights).is_file():
        raise MissingDependencyError(
            f"{found.weights}: the student's weights, settled when this run began, are gone.\n"
            f"  They were of {found.why}. Install it again, or remove\n"
            f"  {run.folder / FILE} to choose anew."
        )
    run.note(f"student.weights: {found.weights}, as settled when this run began ({found.why})")
    if found.weights == NONE:
        from compressor.models.student_weights import choose

        now = choose(run.plan.recipe.student, download=False)
        if now.weights != NONE:
            run.warn(
                f"there are weights by now ({now.why}); this run stays without. To begin anew with "
                f"them: --set student.weights={now.weights}"
            )
