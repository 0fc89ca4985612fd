"""The students that a recipe may come to, each with its weights where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compressor.recipe.networks import AUTO, HUB, NONE, WEIGHTS_WORDS, Student
from compressor.recipe.places.weights_folder import with_file
from compressor.recipe.plan import Plan, load_networks
from runtime.errors import InputError, MissingDependencyError


@dataclass(frozen=True)
class Candidate:
    """A student that could be chosen."""

    spec: Student
    """With its name; its weights are `hub`, a file or `none`."""
    weights: str
    """Where they come from, in words; why there are none."""

    @property
    def has_weights(self) -> bool:
        """Whether its faithfulness can be measured before any training."""
        return self.spec.weights != NONE


def names(plan: Plan) -> tuple[str, ...]:
    """Names of timm models: the target's, the most capable first; before them the recipe's own."""
    own, others = plan.recipe.student.model, plan.target.students
    return others if own in (AUTO, *others) else (own, *others)


def candidates(plan: Plan, *, download: bool) -> Iterator[Candidate]:
    """Yield the candidates in the order of `names`, each with the weights that it would have.

    Args:
        plan: its `student.weights` says where to look.
        download: whether to fetch weights from the hub now.

    Raises:
        InputError: a model of the target file is none of timm's.
        OSError: the disk is full.
    """
    own = plan.recipe.student.model_copy(update={"latency_table": None})
    for model in names(plan):
        changes: dict[str, object] = {"model": model}
        if own.model not in (AUTO, model):
            changes |= OF_ONE_MODEL | {"weights": others_weights(plan, "student")}
        yield with_weights(own.model_copy(update=changes), download=download)


OF_ONE_MODEL: dict[str, object] = {
    "args": {},
    "mean": None,
    "std": None,
    "crop": None,
    "interpolation": None,
}
"""Keys of a network that are not another's."""


def others_weights(plan: Plan, role: Literal["teacher", "student"]) -> str:
    """Return where other models than the recipe's own get weights.

    That is the folder that the recipe names; else the hub for teachers, `auto` for students.
    """
    networks = load_networks(Path(plan.origin.path), plan.origin.overrides)
    written = networks.teacher.weights if role == "teacher" else networks.student.weights
    if written not in WEIGHTS_WORDS and Path(written).is_dir():
        return written
    return HUB if role == "teacher" else AUTO


def with_weights(spec: Student, *, download: bool) -> Candidate:
    """Settle the weights of a student that has a name, as a run would.

    Args:
        spec: as the recipe has it.
        download: whether to fetch weights from the hub now.

    Raises:
        InputError: timm knows no such model.
        OSError: the disk is full.
    """
    from compressor.models.pretrained.source import file_of_timm
    from compressor.models.student_weights import choose

    if spec.weights == NONE:
        return Candidate(spec, "from scratch, as student.weights says")
    if spec.weights == AUTO:
        choice = choose(spec, download=download)
        why = choice.why if choice.weights != NONE else f"no weights: {choice.why}"
        return Candidate(spec.model_copy(update={"weights": choice.weights}), why)
    try:
        found = with_file(spec)
        file_of_timm(found, "student")
    except (InputError, MissingDependencyError) as error:
        why = f"no weights: {str(error).splitlines()[0]}"
        return Candidate(spec.model_copy(update={"weights": NONE}), why)
    return Candidate(found, f"student.weights: {spec.weights}")
