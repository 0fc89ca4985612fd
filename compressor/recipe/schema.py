"""The recipe: everything a user decides, as frozen models in the order of the YAML."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from compressor.recipe.choices import METHODS, STRATEGIES, OneOf
from compressor.recipe.document import Section
from runtime.images import corruptions
from runtime.images.preprocess import Interpolation

Share = Annotated[float, Field(gt=0, lt=1, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True)]
VIEWS_SHOWN = 60_000
"""Views that a student is shown by default, the same for a small set of images and a large one."""
FEWEST_EPOCHS, MOST_EPOCHS = 20, 300
FEWEST_VIEWS, SHOWN_AT_MOST = 8, 8
"""Of an image; and how often each is shown, by default: few images would be learnt by heart."""
MANY_IMAGES = 5_000
"""From so many on a batch is 64 by default."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Channels = tuple[float, float, float]
Spread = tuple[Positive, Positive, Positive]


def _share_or_folder(value: object) -> object:
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError("a share between 0 and 1 is wanted, or a folder")


class Data(Section):
    """`data:` the images, and what is known of them."""

    images: Path = Field(description="a folder, searched in depth; relative to the recipe")
    labels: str = Field(
        "none",
        description="`folders` (one for each class), a CSV with the columns image,label, or `none`",
    )
    holdout: Annotated[float | Path, BeforeValidator(_share_or_folder)] = Field(
        0.2, description="share never trained or tuned on (stratified when labelled), or a folder"
    )
    ood: Path | None = Field(None, description="a folder of images that are not of this task")
    max_rejected: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="more than this share of unusable images ends the run"
    )
    min_images: Annotated[int, Field(ge=8)] = Field(
        40, description="fewer usable images than this end the run"
    )


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


class Distill(Section):
    """`distill:` how the student learns from the teacher."""

    method: Annotated[str, OneOf(METHODS)] = Field(
        "tintem", description="what the student learns; the last three are for comparison"
    )
    head: Literal["learned", "pca", "pca-then-learned", "identity-when-it-fits"] = Field(
        "identity-when-it-fits",
        description="TinTeM's map from the teacher's width to the student's; where the identity "
        "does not fit: to a narrower student the PCA, to a wider one a learned head. `learned` is "
        "the paper's",
    )
    head_fit: Literal["first", "joint"] = Field(
        "first",
        description="a learned head is fitted to convergence before the student, or with it as in "
        "the paper",
    )
    center: bool = Field(
        True,
        description="subtract the mean from the teacher's features, with every method",
    )
    token_maps: Literal["auto", "on", "off"] = Field(
        "auto",
        description="learn the teacher's feature map too: where there is one and disk for it, "
        "always, or never",
    )
    resample: bool = Field(
        True,
        description="bring the teacher's map to the student's grid; without it, unequal grids "
        "leave the maps out",
    )
    epochs: Count | None = Field(
        None,
        description="passes over the training images; null: as many as show the student "
        f"{VIEWS_SHOWN:,} views, at least {FEWEST_EPOCHS} and at most {MOST_EPOCHS}",
    )
    batch: Annotated[int, Field(ge=3)] | None = Field(
        None,
        description=f"images per optimiser step; null: 64, or 32 under {MANY_IMAGES:,} training "
        "images, which are short of steps",
    )
    accumulate: Count = Field(
        1, description="parts a batch is cut into for the student, to save memory"
    )
    lr: Positive | None = Field(
        None, description="highest learning rate, of AdamW; null: 2e-3 for a CNN, 1e-3 for a ViT"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.05, description="of matrices and kernels; biases, norms and 1-d weights have none"
    )
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(
        2, description="epochs of linear rise to `lr`; at most a fifth of all steps"
    )
    views: Count | None = Field(
        None,
        description="fixed views per image: itself as on the device, then seeded augmentations; "
        f"null: {FEWEST_VIEWS}, or more, so that none is shown over {SHOWN_AT_MOST} times",
    )
    crop_scale: tuple[Share, Annotated[float, Field(gt=0, le=1)]] = Field(
        (0.08, 1.0), description="share of the image's area that a view shows, from and to"
    )
    validation: Share = Field(
        0.1, description="share of the training images kept back to choose the best checkpoint"
    )
    patience: Count | None = Field(
        None,
        description="stop after so many epochs without a better student; null goes on to the end, "
        "where the learning rate has fallen and students are best",
    )
    teacher: Literal["cached", "online"] = Field(
        "cached",
        description="ask the teacher once for each view, or at every step (a new view each epoch)",
    )
    teacher_precision: Precision = Field(
        "auto", description="of the teacher: auto is bf16 where the machine has it in hardware"
    )
    disk_gb: Positive = Field(
        20,
        description="what teacher features, decoded images and views may take, 10^9 bytes",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the split, the views, the weights")
    precision: Precision = Field(
        "auto", description="of the student's step: auto is fp32 on a CPU, bf16 or fp16 on a GPU"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train and embed")
    workers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="threads that read images; null: as many as there are cores, up to 16"
    )
    checkpoint_s: Annotated[float, Field(ge=0)] = Field(
        30, description="seconds between checkpoints, so what a killed run loses at most"
    )

    def epochs_for(self, images: int) -> int:
        """Passes over so many training images."""
        if self.epochs is not None:
            return self.epochs
        wanted = round(VIEWS_SHOWN / max(1, images))
        return max(FEWEST_EPOCHS, min(MOST_EPOCHS, wanted))

    def lr_for(self, *, transformer: bool) -> float:
        """Highest learning rate of a student."""
        return self.lr or (1e-3 if transformer else 2e-3)

    def batch_for(self, images: int) -> int:
        """Images per optimiser step; no more than there are."""
        wanted = self.batch or (64 if images >= MANY_IMAGES else 32)
        return min(wanted, images)

    def views_for(self, images: int) -> int:
        """Different views of each: an epoch shows one, so a short run has no more than epochs."""
        epochs = self.epochs_for(images)
        if self.teacher == "online":
            return epochs
        return min(epochs, self.views or max(FEWEST_VIEWS, math.ceil(epochs / SHOWN_AT_MOST)))


class Label(Section):
    """`label:` which images to label first; a run stops for a person while labels are missing."""

    strategy: Annotated[str, OneOf(STRATEGIES)] = Field(
        "cold-paws-cosine", description="how they are chosen; see docs/label.md"
    )
    budget: Count = Field(50, description="labelled images in all, without held-out ones")
    seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="of the choice; null: distill.seed"
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
        50,
        description="held-out images that are also checked under corruptions "
        f"({corruptions.summary()}: {len(corruptions.cells())} passes of teacher, student and file "
        "for each image), at most as many as the bundle holds; 0 leaves it out",
    )


class Require(Section):
    """`require:` gates; a run that misses one ends with exit code 1."""

    latency_p95_ms: Positive | None = Field(None, description="of one request, on the target")
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
        description="how a gate counts that this machine or these images cannot decide: "
        "latency away from the target, a limit within the 95 % interval of the score",
    )


class Recipe(Section):
    """A whole recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run's folder")
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

    def resolved(self) -> dict[str, Any]:
        """Every key with its value, as JSON; a `label:` section that is not there stays away."""
        absent = {"label"} if self.label is None else set[str]()
        return self.model_dump(mode="json", exclude=absent)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors."""
    return Recipe.model_json_schema() | {"title": "edge-compressor recipe"}
