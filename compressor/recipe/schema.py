"""The recipe: everything a user decides, as frozen models in the order of the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from compressor.recipe.choices import STRATEGIES, OneOf
from compressor.recipe.distill_section import Distill
from compressor.recipe.document import Section
from compressor.recipe.networks import Student, Teacher
from compressor.recipe.places.addresses import FEWEST_IMAGES
from compressor.recipe.values import Count, Positive, Share
from runtime.images import corruptions

__all__ = [
    "Check",
    "Data",
    "Distill",
    "Export",
    "Label",
    "Recipe",
    "Require",
    "Student",
    "Teacher",
    "json_schema",
]


def _share_or_folder(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError("expected a share between 0 and 1, or a folder or other source")


def _address(value: object) -> object:
    if isinstance(value, str) and value:
        return value
    raise ValueError("a path or an address is wanted")


Address = Annotated[str, BeforeValidator(_address)]
"""A folder or another source of images."""


class Data(Section):
    """`data:` the images, and what is known of them."""

    images: Address = Field(
        description="a folder, searched in depth; or a list file, tar shards and the like (see "
        "docs/sources.md); relative to the recipe"
    )
    crops: bool = Field(
        False, description="COCO and YOLO data sets: each annotated box is an image"
    )
    frame_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        1.0, description="videos: the least time between two frames; only key frames are taken"
    )
    labels: str = Field(
        "none",
        description="`folders` (one for each class), `source` (the classes that come with shards "
        "and data sets), a CSV with the columns image,label, or `none`",
    )
    class_level: Count | None = Field(
        None,
        description="which level of folders names the classes, 1: directly below `images`, folders "
        "of a split not counted; null: the only level that could",
    )
    split_folders: Literal["auto", "ignore"] = Field(
        "auto",
        description="auto: folders such as train/ and val/ are the split, instead of a share in "
        "`holdout`; ignore: they are folders like others",
    )
    holdout: Annotated[float | str, BeforeValidator(_share_or_folder)] = Field(
        0.2,
        description="share never trained or tuned on (stratified when labelled), or a folder or "
        "other source",
    )
    ood: Address | None = Field(
        None, description="a folder or other source of images that are not of this task"
    )
    returned: Path | None = Field(
        None,
        description="the folder of images that came back from devices, which `compressor label "
        "--from` fills; null: NAME-returned beside the recipe",
    )
    max_rejected: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="more than this share of unusable images ends the run"
    )
    max_megapixels: Annotated[float, Field(ge=1, le=1000)] = Field(
        256, description="an image with more million pixels is unusable"
    )
    min_images: Annotated[int, Field(ge=8)] = Field(
        FEWEST_IMAGES, description="fewer usable images than this end the run"
    )


class Label(Section):
    """`label:` which images to label first; a run stops for a person while labels are missing."""

    strategy: Annotated[str, OneOf(STRATEGIES)] = Field(
        "cold-paws-cosine", description="how they are chosen; see docs/label.md"
    )
    budget: Count = Field(50, description="labelled images in all, without held-out ones")
    seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="seed of the choice; null: distill.seed"
    )


def _section_or_defaults(value: object) -> object:
    """A section whose keys are all commented out is null, and means its defaults."""
    return {} if value is None else value


def _rising(value: tuple[int, int, int]) -> tuple[int, int, int]:
    if list(value) != sorted(value):
        raise ValueError("three rising batch sizes: smallest, tuned for, largest")
    return value


class Export(Section):
    """`export:` the files for the device."""

    precisions: tuple[Literal["fp32", "fp16", "int8"], ...] = Field(
        ("fp32",),
        description="files to make; each is timed and compared, and the best recommended",
    )
    formats: tuple[Literal["ncnn", "litert"], ...] = Field(
        (),
        description="files for other runtimes than ONNX Runtime, in each of `precisions`, for "
        "Raspberry Pi and phones: `ncnn`, `litert` (formerly TensorFlow Lite)",
    )
    engines: tuple[Literal["tensorrt", "tensorrt-rtx"], ...] = Field(
        (),
        description="TensorRT engines to make of each file: `tensorrt` on the device itself, "
        "`tensorrt-rtx` here, for the target's compute_capability",
    )
    batches: Annotated[tuple[Count, Count, Count], AfterValidator(_rising)] | None = Field(
        None,
        description="batch sizes of an engine: smallest, tuned for, largest; null: 1, the first "
        "and the largest of the target",
    )
    workspace_mb: Count | None = Field(
        None, description="scratch memory of an engine's layer, at most, in MB; null: the GPU's"
    )
    input: Literal["float32", "uint8"] = Field(
        "float32",
        description="what the files take: normalised float32 [B, 3, S, S], or uint8 pixels "
        "[B, S, S, 3] that are normalised inside",
    )
    calibration_images: Annotated[int, Field(ge=8)] = Field(
        128, description="training images that FP16 and INT8 are calibrated on, at most"
    )
    qat_epochs: Annotated[int, Field(ge=0)] = Field(
        3,
        description="epochs of distillation with INT8's rounding in the student, tried where plain "
        "INT8 misses `require` on validation images; 0: never",
    )
    golden_images: Annotated[int, Field(ge=8)] = Field(
        100, description="held-out images that travel in the bundle, at most"
    )
    golden_mb: Positive = Field(
        50, description="their files together, at most, 10^6 bytes; never fewer than 16 images"
    )


class Check(Section):
    """`check:` what the report looks into."""

    robustness_images: Annotated[int, Field(ge=0)] = Field(
        0,
        description="held-out images, such as 50, that are also checked under corruptions "
        f"({corruptions.summary()}: {len(corruptions.cells())} passes of teacher, student and file "
        "for each image), at most as many as the bundle holds; 0 leaves out what may take longest",
    )


class Require(Section):
    """`require:` gates; a run that misses one, or cannot decide it, ends with exit code 1."""

    latency_p95_ms: Positive | None = Field(
        None, description="largest p95 of one request, on the target"
    )
    agreement: Share | None = Field(
        None,
        description="lowest share of held-out images with the same answer as the teacher's probe",
    )
    accuracy_drop: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        None, description="largest loss of held-out accuracy, teacher minus deployed file"
    )
    size_mb: Positive | None = Field(None, description="largest size of the file, 10^6 bytes")
    similarity_correlation: Share | None = Field(
        None, description="lowest correlation with the teacher's cosines; needs no labels"
    )
    ood_auroc: Share | None = Field(None, description="lowest AUROC against data.ood")
    undecided: Literal["fail", "pass"] = Field(
        "fail",
        description="whether a gate that this machine or these images cannot decide (latency away "
        "from the target, a limit within the 95 % interval of the score) ends with exit code 1, or "
        "with 0; it is reported as undecided either way",
    )


class Recipe(Section):
    """A whole recipe."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=128,
        description="name of the run's folder",
    )
    data: Data
    teacher: Teacher
    student: Student
    distill: Distill = Distill()
    label: Annotated[Label | None, BeforeValidator(_section_or_defaults)] = Field(
        None, description="which images to label first; the run stops while labels are missing"
    )
    export: Export = Export()
    check: Check = Check()
    target: str = Field("cpu", description="recipes/targets/<name>.yaml, or a path")
    require: Require = Require()

    def resolved(self) -> dict[str, object]:
        """Every key with its value, as JSON; a `label:` section that is not there stays away."""
        absent = {"label"} if self.label is None else set[str]()
        return self.model_dump(mode="json", exclude=absent)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors."""
    return Recipe.model_json_schema() | {"title": "edge-compressor recipe"}
