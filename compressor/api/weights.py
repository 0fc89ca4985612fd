"""Weights for a machine without network: fetched into a folder that recipes can name."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.api.job import assignments_of
from compressor.events import Observer, Reporter, ignore
from compressor.recipe import plan as plans
from compressor.recipe.networks import AUTO, HUB, Network
from compressor.recipe.places.weights_folder import FetchedFile
from compressor.recipe.plan import Networks
from runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from compressor.models.pretrained.fetch import WantedWeights


@dataclass(frozen=True)
class FetchedWeights:
    """What a call fetched, or found to be there already."""

    folder: Path
    files: tuple[FetchedFile, ...]
    """Of the models that were asked for."""
    recipe_lines: str
    """What the recipe should say on the other machine, with the folder beside it; may be empty."""


def fetch_weights(
    recipe: str | Path,
    to: str | Path,
    *,
    overrides: Mapping[str, object] | None = None,
    on_event: Observer = ignore,
) -> FetchedWeights:
    """Download the pretrained weights that a recipe needs, for a machine without network.

    What `hub` and `auto` name, and a folder that is this one; for `student.model: auto` all
    candidates of the target. The images of the recipe need not be there. All files, or none.

    Args:
        recipe: the YAML file.
        to: the folder; those of earlier calls stay in it.
        overrides: changes of the recipe, such as `{"student.model": "resnet18"}`.
        on_event: called with a message for each file.

    Raises:
        InputError: the recipe is wrong, its weights are not on the hub, or the folder is refused.
        MissingDependencyError: the hub cannot be reached, a download failed, or the disk is full.
    """
    folder, reporter = Path(to), Reporter(on_event)
    changes = assignments_of(overrides or {})
    networks = plans.load_networks(Path(recipe), changes, given_as="overrides")
    return fetch_networks(networks, folder, reporter)


def fetch_networks(networks: Networks, folder: Path, reporter: Reporter) -> FetchedWeights:
    """Download the weights of a recipe's networks; see `fetch_weights`."""
    from compressor.models.pretrained.fetch import fetch

    by_role = {
        "teacher": _wanted(
            "teacher", networks.teacher, (networks.teacher.model,), folder, reporter
        ),
        "student": _wanted("student", networks.student, networks.students, folder, reporter),
    }
    wanted = [each for found in by_role.values() for each in found]
    once = list({each.file: each for each in wanted}.values())
    if not once:
        return FetchedWeights(folder, (), "")
    try:
        manifest = fetch(once, folder, reporter.note)
    except OSError as error:
        raise _refused(folder, error) from error
    names = {each.file for each in once}
    files = tuple(entry for entry in manifest.files if entry.file in names)
    lines = [f"{role}:\n  weights: {folder.name}\n" for role, found in by_role.items() if found]
    return FetchedWeights(folder, files, "".join(lines))


def _wanted(
    role: str, network: Network, models: tuple[str, ...], folder: Path, reporter: Reporter
) -> list[WantedWeights]:
    """The weights of one section; a line for those that there are none of."""
    from compressor.models.pretrained import hub
    from compressor.models.pretrained.fetch import WantedWeights

    if network.weights not in (AUTO, HUB) and Path(network.weights).resolve() != folder.resolve():
        reporter.note(f"{role}.weights: {network.weights}; nothing to fetch")
        return []
    found = []
    for model in models:
        config = hub.config_of(model, role=role)
        try:
            found.append(WantedWeights(model, hub.require(model, role=role, config=config)))
        except InputError as error:
            if role == "teacher" or (network.weights == HUB and network.model != AUTO):
                raise
            reporter.warn(f"{error}\n  Left out.")
    return found


def _refused(folder: Path, error: OSError) -> InputError | MissingDependencyError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingDependencyError(
            f"{folder}: no space left on this disk. Nothing was added to the folder. Free some "
            "space and run the same command again, or name another folder with --to."
        )
    return InputError(f"{folder}: {error.strerror or error}. Name another folder with --to.")
