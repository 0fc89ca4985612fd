"""The whole job in one call: from a recipe, or from a folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from compressor.api import job as jobs
from compressor.api.first_recipe import folder_of, write_first_recipe
from compressor.api.result import RunResult
from compressor.events import Message, Observer, ignore
from compressor.observers.tracking import registry as trackers
from compressor.recipe.networks import WEIGHTS_WORDS
from compressor.recipe.places.addresses import LABEL_WORDS
from runtime.errors import from_file_system

Network = str | Mapping[str, object]
"""A timm model by name, or the keys of a recipe's section: `{"model": ..., "weights": ...}`."""


@from_file_system()
def run(
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    overrides: Mapping[str, object] | None = None,
    on_event: Observer = ignore,
    track: Sequence[str] = (),
) -> RunResult:
    """Run a recipe: from images to student, ONNX files, bundle and report.

    What is unchanged since the last run is not made again; a killed run continues.

    Args:
        recipe: the YAML file.
        out: the run's folder; None: `runs/NAME` below the current folder.
        overrides: changes of the recipe, such as `{"distill.epochs": 2}`; paths are relative to
            the recipe.
        on_event: called with every event; what it raises ends the run.
        track: experiment trackers, of `tensorboard`, `mlflow` and `wandb` (docs/tracking.md).

    Returns:
        The result. A missed requirement is its verdict, not an error.

    Raises:
        InputError: recipe, images, labels or weights are wrong, or the folder is not free.
        MissingDependencyError: this machine lacks a package, GPU, weights or disk space.
    """
    assignments = jobs.assignments_of(overrides or {})
    job = jobs.open_job(
        Path(recipe), assignments, _path(out), on_event, given_as="overrides", track=track
    )
    return jobs.complete(job)


@from_file_system()
def compress(
    images: str | Path,
    *,
    teacher: Network | None = None,
    student: Network | None = None,
    target: str | Path | None = None,
    labels: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Mapping[str, object] | None = None,
    on_event: Observer = ignore,
    track: Sequence[str] = (),
) -> RunResult:
    """Distil a student for a folder of images, without a recipe written by hand.

    Writes the recipe that `compressor init` would write to `out/recipe.yaml` (one that is there
    already is used as it is), lays the arguments over it, and runs it.

    Args:
        images: the folder of images, searched in depth, or another source (docs/sources.md).
        teacher: the foundation model; None: the recipe's.
        student: the model for the device; None: the recipe's.
        target: a device that `compressor targets` lists, or a YAML file; None: the recipe's.
        labels: `folders`, `source`, `none`, or a CSV with the columns image,label; None: those
            of the recipe.
        out: the run's folder; None: `runs/NAME` below the current folder.
        overrides: further changes of the recipe, such as `{"require.size_mb": 4}`.
        on_event: called with every event; what it raises ends the run.
        track: experiment trackers, of `tensorboard`, `mlflow` and `wandb` (docs/tracking.md).

    Returns:
        The result. A missed requirement is its verdict, not an error.

    Raises:
        InputError: images, labels, weights or an argument are wrong, or the folder is not free.
        MissingDependencyError: this machine lacks a package, GPU, weights or disk space.
    """
    changes: dict[str, object] = {}
    changes |= _section("teacher", teacher) | _section("student", student)
    if target is not None:
        changes["target"] = _from_here(target) if Path(target).suffix else str(target)
    if labels is not None:
        changes["data.labels"] = labels if labels in LABEL_WORDS else _from_here(labels)
    assignments = jobs.assignments_of(changes | dict(overrides or {}))
    trackers.require(track)
    recipe, lines = write_first_recipe(images, folder_of(images, _path(out)))
    job = jobs.open_job(
        recipe, assignments, recipe.parent, on_event, given_as="overrides", track=track
    )
    for line in lines:
        job.observer(Message(text=line))
    return jobs.complete(job)


def _section(name: str, network: Network | None) -> dict[str, object]:
    """Return the change of one section: another model, or all keys replaced.

    Files are seen from the current folder, not from the recipe's.
    """
    if network is None:
        return {}
    if isinstance(network, str):
        return {f"{name}.model": network}
    keys = dict(network)
    weights = keys.get("weights")
    if weights is not None and weights not in WEIGHTS_WORDS:
        keys["weights"] = _from_here(str(weights))
    return {name: keys}


def _from_here(path: str | Path) -> str:
    return str(Path(path).resolve())


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
