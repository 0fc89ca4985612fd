"""What a run writes of a network: teacher.json and student.json, in this order of keys."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from runtime.images.preprocess import Preprocess


class Origin(Struct, frozen=True, kw_only=True):
    """Where the weights of a network come from; UNSET for what does not apply."""

    model: str
    """Its name in timm."""
    weights: str
    """`hub`, `none`, `given` by the caller, or the name of a local file."""
    args: dict[str, Any]
    """Keyword arguments of timm.create_model."""
    hub_id: str | UnsetType | None = UNSET
    package: str | UnsetType = UNSET
    """Name and version of the installed package that the file belongs to."""
    sha256: str | UnsetType = UNSET
    """Of a local file."""
    part: str | UnsetType = UNSET
    """Which of the weights in a local file were taken, in words."""
    license: str | UnsetType | None = UNSET
    timm: str | UnsetType = UNSET
    """The version that built a model which the caller gave."""


class Card(Origin, frozen=True, kw_only=True):
    """A network in the report: its origin, its width and its input."""

    embedding: int
    """Width of its embedding."""
    size_mb: float
    """Of its weights in float32, 10^6 bytes."""
    preprocess: Preprocess
    computed_in: str | UnsetType = UNSET
    """The precision that the teacher's features were computed in."""
