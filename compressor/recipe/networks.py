"""The sections `teacher:` and `student:` of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from compressor.recipe.document import Section
from compressor.recipe.values import Positive
from runtime.images.preprocess import Interpolation

AUTO, HUB, NONE = "auto", "hub", "none"
WEIGHTS_WORDS = (AUTO, HUB, NONE)
"""What `weights` may say instead of a path."""

Channels = tuple[float, float, float]
Spread = tuple[Positive, Positive, Positive]


class Network(Section):
    """A timm model and what its input must look like."""

    model: str = Field(min_length=1, description="a timm model, as timm.list_models() names it")
    weights: str
    args: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of timm.create_model"
    )
    image_size: Annotated[int, Field(ge=8, le=2048)] | None
    mean: Channels | None = Field(None, description="overrides timm's data config")
    std: Spread | None = Field(None, description="overrides timm's data config")
    crop: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="image side / resized short side; overrides timm's data config"
    )
    interpolation: Interpolation | None = Field(None, description="overrides timm's data config")


class Teacher(Network):
    """`teacher:` the foundation model, frozen."""

    weights: str = Field(
        HUB,
        description="`hub`, a .safetensors, a weights-only .pth, or a folder of weights: of "
        "`compressor fetch`, or with files named MODEL.safetensors",
    )
    image_size: Annotated[int, Field(ge=8, le=2048)] | None = Field(
        None, description="side in pixels; null takes the model's own"
    )


class Student(Network):
    """`student:` the small model that goes to the device."""

    model: str = Field(
        min_length=1,
        description="a timm model, or auto: of the target's that fit `require`, the one that "
        "follows the teacher most faithfully before any training",
    )

    weights: str = Field(
        AUTO,
        description="`auto` (the hub's if they are to be had, else an installed package's, else "
        "none), `hub`, `none` (from scratch), a .safetensors, a weights-only .pth, or a folder of "
        "weights as for the teacher",
    )
    image_size: Annotated[int, Field(ge=8, le=2048)] = Field(224, description="side in pixels")
    embedding: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="width of the embedding; null: 192 for a CNN, its own for a ViT, which from "
        "scratch can have no other",
    )
    stages: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="how many stages give the embedding layer the mean and the deviation of their "
        "channels, beside the last features; null: 4 from pretrained weights, 0 from scratch",
    )
    latency_table: Path | None = Field(
        None,
        description="for model auto: what `python -m runtime latency-table` wrote on the target",
    )

    @property
    def pretrained(self) -> bool:
        """Whether it starts from weights, not from scratch."""
        return self.weights != "none"
