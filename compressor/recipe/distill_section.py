"""The section `distill:` of a recipe, and the defaults that follow from the number of images."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from compressor.recipe.choices import METHODS, OneOf
from compressor.recipe.document import Section
from compressor.recipe.values import Count, Positive, Precision, Share

VIEWS_SHOWN = 60_000
"""Views that a student is shown by default, the same for a small set of images and a large one."""
FEWEST_EPOCHS, MOST_EPOCHS = 20, 300
FEWEST_VIEWS, SHOWN_AT_MOST = 8, 8
"""Views of an image, and how often each is shown, by default: few images would be memorised."""
MANY_IMAGES = 5_000
"""With this many images or more, the default batch is 64."""


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
        description="learn the teacher's feature map too; auto: if teacher and student have one "
        "and the disk budget allows it",
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
        description=f"images per optimiser step; null: 64, or 32 with fewer than {MANY_IMAGES:,} "
        "training images",
    )
    accumulate: Count = Field(
        1, description="parts a batch is cut into for the student, to save memory"
    )
    lr: Positive | None = Field(
        None, description="highest learning rate, of AdamW; null: 2e-3 for a CNN, 1e-3 for a ViT"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.05, description="for matrices and kernels; biases, norms and 1-d weights have none"
    )
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(
        2, description="epochs of linear rise to `lr`; at most a fifth of all steps"
    )
    views: Count | None = Field(
        None,
        description="fixed views per image: itself as on the device, then seeded augmentations; "
        f"null: {FEWEST_VIEWS}, or more, so that none is shown more than {SHOWN_AT_MOST} times",
    )
    crop_scale: tuple[Share, Annotated[float, Field(gt=0, le=1)]] = Field(
        (0.08, 1.0), description="share of the image's area that a view shows, from and to"
    )
    validation: Share = Field(
        0.1, description="share of the training images kept back to choose the best checkpoint"
    )
    patience: Count | None = Field(
        None,
        description="stop after so many epochs without a better student; null: train to the end, "
        "where the learning rate has fallen and students are best",
    )
    teacher: Literal["cached", "online"] = Field(
        "cached",
        description="run the teacher once for each view, or at every step (a new view each epoch)",
    )
    teacher_precision: Precision = Field(
        "auto", description="number type of the teacher; auto: bf16 if the hardware has it"
    )
    disk_gb: Positive = Field(
        20,
        description="limit for teacher features, decoded images and views on disk, 10^9 bytes",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of split, views and weights")
    precision: Precision = Field(
        "auto", description="number type of training; auto: fp32 on a CPU, bf16 or fp16 on a GPU"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train and embed")
    workers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="threads that read images; null: as many as there are cores, up to 16"
    )
    checkpoint_s: Annotated[float, Field(ge=0)] = Field(
        30, description="seconds between checkpoints; a killed run loses no more than this"
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
