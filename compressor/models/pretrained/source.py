"""The weights of a network as its recipe names them: which file, and what a report says of it."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from compressor.models.card import Origin
from compressor.models.pretrained import hub
from compressor.models.pretrained.package import package_of
from compressor.recipe.networks import Network
from compressor.recipe.places.weights_folder import entry_of
from runtime.errors import InputError
from runtime.files import sha256_of


def file_of_timm(spec: Network, role: str) -> Path | None:
    """Return the file if timm loads it itself: one of the hub, now or fetched earlier.

    Raises:
        InputError: the weights are not on the hub, or a fetched file is damaged.
        MissingDependencyError: the hub's are neither cached nor to be had.
        ValueError: the weights are not settled yet; see `compressor.models.student_weights`.
    """
    if spec.weights == "auto":
        raise ValueError(f"{role}.weights is auto: settle it before the network is built")
    if spec.weights == "hub":
        config = hub.config_of(spec.model, role=role)
        config = hub.require(spec.model, role=role, config=config)
        return hub.file_of(spec.model, role=role, config=config)
    path = Path(spec.weights)
    if spec.weights == "none" or (fetched := entry_of(path)) is None:
        return None
    if sha256_of(path) != fetched.sha256:
        raise InputError(f"{path}: not what was fetched; copy the folder {path.parent} again")
    return path


def origin_of(spec: Network) -> Origin:
    """Return where the weights of a settled network come from, for a report."""
    origin = Origin(model=spec.model, weights=spec.weights, args=spec.args)
    if spec.weights == "none":
        return origin
    if spec.weights == "hub":
        config = hub.config_of(spec.model, role="network")
        config = hub.require(spec.model, role="network", config=config)
        return structs.replace(origin, hub_id=config.hf_hub_id, license=config.license)
    path = Path(spec.weights)
    origin = structs.replace(origin, weights=path.name, sha256=sha256_of(path))
    if (fetched := entry_of(path)) is not None:
        return structs.replace(origin, hub_id=fetched.hub_id, license=fetched.license)
    if (found := package_of(path)) is not None:
        return structs.replace(origin, package=found.name_and_version(), license=found.license)
    return structs.replace(origin, license="the user's")
