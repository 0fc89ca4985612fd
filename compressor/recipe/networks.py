"""The sections `teacher:` and `student:` of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from compressor.recipe.document import Section
from compressor.recipe.values import Positive
from runtime.images.preprocess import Interpolation

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

    weights: str = Field("hub", description="`hub`, a .safetensors, or a weights-only .pth")
    image_size: Annotated[int, Field(ge=8, le=2048)] | None = Field(
        None, description="side in pixels; null takes the model's own"
    )


class Student(Network):
    """`student:` the small model that goes to the device."""

    model: str = Field(
        min_length=1,
        description="a timm model, or auto: the most capable of the target's that fits `require`",
    )

    weights: str = Field(
        "none", description="`none` (from scratch), `hub`, a .safetensors, or a weights-only .pth"
    )
    image_size: Annotated[int, Field(ge=8, le=2048)] = Field(224, description="side in pixels")
    embedding: Annotated[int, Field(ge=2)] | None = Field(
        None, description="width of a CNN's embedding (null: 192); a ViT keeps its own"
    )
    latency_table: Path | None = Field(
        None,
        description="for model auto: what `python -m runtime latency-table` wrote on the target",
    )
