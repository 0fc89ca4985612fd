"""A plan: a recipe with its paths resolved, its mistakes refused and its target read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct

from compressor.recipe import target as targets
from compressor.recipe.checks import mistakes_of
from compressor.recipe.document import Document, Key
from compressor.recipe.networks import AUTO, WEIGHTS_WORDS, Student, Teacher
from compressor.recipe.places import addresses
from compressor.recipe.places.weights_folder import with_file
from compressor.recipe.schema import Recipe
from compressor.recipe.target import Target
from compressor.recipe.values import unusable
from runtime import documents
from runtime.backends.nvidia.engine_manifest import Profile
from runtime.errors import InputError

ORIGIN = "recipe.json"


class RecipeOrigin(Struct, frozen=True, kw_only=True):
    """recipe.json in the folder of a run: how to load its recipe again."""

    path: str
    """The recipe's file, absolute."""
    overrides: tuple[str, ...]
    """The changes of it: those of `--set`, or the API's `overrides`."""


@dataclass(frozen=True)
class Plan:
    """A recipe ready to run: paths resolved, target read."""

    recipe: Recipe
    target: Target
    target_name: str
    digest: str
    """sha256 of what the user wrote (file and changes), whatever the spelling."""
    origin: RecipeOrigin


def load(path: Path, overrides: Sequence[str] = (), *, given_as: str = "--set") -> Plan:
    """Read a recipe, lay changes over it, resolve its paths against its folder, read its target.

    Args:
        path: the YAML file.
        overrides: changes of it, such as `distill.epochs=2`.
        given_as: what messages call a change.

    Raises:
        InputError: with file, line and key of every mistake.
    """
    document = Document(path, overrides, given_as=given_as)
    written = document.validate(Recipe)
    recipe = _with_resolved_paths(written, path.resolve().parent, document)
    if mistakes := mistakes_of(recipe):
        raise document.error(mistakes)
    files = {role: with_file(getattr(recipe, role)) for role in ("teacher", "student")}
    recipe = recipe.model_copy(update=files)
    try:
        target_path = targets.path_of(recipe.target, path.resolve().parent)
    except InputError as error:
        raise document.error([(("target",), str(error))]) from error
    target = targets.load(target_path)
    given = recipe.export.batches if recipe.export.engines else None
    if given is not None and (lacks := Profile(*given).lacks(target.batches)):
        raise document.error([(("export", "batches"), lacks)])
    canonical = json.dumps(document.data, sort_keys=True)
    return Plan(
        recipe=recipe,
        target=target,
        target_name=target_path.stem,
        digest=hashlib.sha256(canonical.encode()).hexdigest(),
        origin=RecipeOrigin(path=str(path.resolve()), overrides=tuple(overrides)),
    )


@dataclass(frozen=True)
class Networks:
    """The networks of a recipe whose images may be on another machine."""

    teacher: Teacher
    student: Student
    students: tuple[str, ...]
    """Models that the student may become: itself, or the candidates of the target."""


def load_networks(
    path: Path, overrides: Sequence[str] = (), *, given_as: str = "--set"
) -> Networks:
    """Read teacher and student of a recipe; no other file that it names has to be there.

    Args:
        path: the YAML file.
        overrides: changes of it.
        given_as: what messages call a change.

    Raises:
        InputError: with file, line and key of every mistake.
    """
    document = Document(path, overrides, given_as=given_as)
    written, folder = document.validate(Recipe), path.resolve().parent
    recipe = _with_resolved_paths(written, folder, document)
    students: tuple[str, ...] = (recipe.student.model,)
    if recipe.student.model == AUTO:
        students = targets.load(targets.path_of(recipe.target, folder)).students
    return Networks(recipe.teacher, recipe.student, students)


def load_again(folder: Path) -> Plan:
    """Read the recipe of a run's folder again, as it was run there.

    Raises:
        InputError: it is not the folder of a run, or the recipe is missing or wrong.
    """
    origin = read_origin(folder)
    return load(Path(origin.path), origin.overrides)


def read_origin(folder: Path) -> RecipeOrigin:
    """Return the path of the recipe of a run folder.

    Raises:
        InputError: it is not the folder of a run.
    """
    path = folder / ORIGIN
    if not path.is_file():
        raise InputError(f"{folder}: not the folder of a run (it has no {ORIGIN})")
    try:
        return documents.read(path, RecipeOrigin, what="recipe's origin")
    except InputError as error:
        raise InputError(f"{path}: not written by a run ({error})") from error


def _with_resolved_paths(recipe: Recipe, folder: Path, document: Document) -> Recipe:
    """Return the recipe with absolute paths.

    Raises:
        InputError: a path is one that no file can have; names its key.
    """
    mistakes = list[tuple[Key, str]]()

    def resolved(key: Key, value: Any, keywords: tuple[str, ...] = ()) -> Any:
        if value is None or value in keywords:
            return value
        if why := unusable(folder / value):
            mistakes.append((key, why))
            return folder
        return (folder / value).resolve()

    def placed(key: str, value: str) -> str:
        if not addresses.is_remote(value) and (why := unusable(folder / value)):
            mistakes.append((("data", key), why))
            return str(folder)
        return addresses.resolved(value, folder)

    data = recipe.data
    labels = resolved(("data", "labels"), data.labels, addresses.LABEL_WORDS)
    named = {key: getattr(data, key) for key in ("images", "holdout", "ood")}
    images = {key: placed(key, each) for key, each in named.items() if isinstance(each, str)}
    back = resolved(("data", "returned"), data.returned or Path(f"{recipe.name}-returned"))
    data = data.model_copy(update={"labels": str(labels), "returned": back, **images})
    networks: dict[str, Any] = {}
    for role, network in (("teacher", recipe.teacher), ("student", recipe.student)):
        weights = str(resolved((role, "weights"), network.weights, WEIGHTS_WORDS))
        networks[role] = network.model_copy(update={"weights": weights})
    timings = resolved(("student", "latency_table"), networks["student"].latency_table)
    networks["student"] = networks["student"].model_copy(update={"latency_table": timings})
    if mistakes:
        raise document.error(mistakes)
    return recipe.model_copy(update={"data": data, **networks})
