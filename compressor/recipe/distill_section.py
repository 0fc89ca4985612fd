"""The section `distill:` of a recipe, and the defaults that follow from the number of images."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from compressor.recipe.choices import METHODS, OneOf
from compressor.recipe.document import Section
from compressor.recipe.values import Count, Patience, Positive, Precision, Share

SHOWN_FROM_WEIGHTS, SHOWN_ON_GPU = 12_000, 120_000
LR_FROM_WEIGHTS = 5e-4
CROPS_FROM_WEIGHTS, CROPS = (0.25, 1.0), (0.08, 1.0)
MOST_START_VIEWS, START_SHOWN = 4, 20_000
"""The closed form sees at most so many views of an image, and fewer beyond so many views in all."""
MOST_SYNTHETIC, SYNTHETIC_PER_IMAGE = 600, 2
VIEWS_SHOWN = 60_000
"""Views that a student is shown by default, the same for a small set of images and a large one."""
FEWEST_EPOCHS, FEWEST_SHOWN_EPOCHS, MOST_EPOCHS = 20, 4, 300
FEWEST_VIEWS, SHOWN_AT_MOST = 8, 8
"""Views of an image, and how often each is shown, from scratch: few images are memorised."""
MIXED_FROM_WEIGHTS = 0.5
"""Share of the views that are mixed by default, for a student that starts from weights
(docs/decisions/start.md)."""
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
        description="learn the teacher's feature map too; auto: from scratch, if teacher and "
        "student have one and the disk budget allows it",
    )
    resample: bool = Field(
        True,
        description="bring the teacher's map to the student's grid; without it, unequal grids "
        "leave the maps out",
    )
    epochs: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="passes over the training images; 0: the closed form alone, which needs "
        "pretrained weights; null: as many as show the student `shown` views, at least "
        f"{FEWEST_SHOWN_EPOCHS} ({FEWEST_EPOCHS} from scratch) and at most {MOST_EPOCHS}, times "
        "`patience`",
    )
    shown: Count | None = Field(
        None,
        description="views that the student is shown in all, where `epochs` is null; null: "
        f"{SHOWN_FROM_WEIGHTS:,} from pretrained weights ({SHOWN_ON_GPU:,} on a GPU), "
        f"{VIEWS_SHOWN:,} from scratch",
    )
    patience: Patience = Field(
        1.0,
        json_schema_extra={"default": "1x"},
        description="how many times the default number of epochs, and of views: 3x, 10x, 100x; a "
        "longer training brings a student nearer to its teacher",
    )
    minutes: Positive | None = Field(
        None,
        description="time for all that grows with views and epochs: the teacher on views, closed "
        "form, training; rates are measured here first, then epochs, views and `teacher` are "
        "settled and kept in time_budget.json",
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
        None,
        description=f"highest learning rate, of AdamW; null: {LR_FROM_WEIGHTS:g} from pretrained "
        "weights; from scratch 2e-3 for a CNN, 1e-3 for a ViT",
    )
    batch_norm: Literal["auto", "frozen", "live"] = Field(
        "auto",
        description="mean and variance of batch norm while training: those of the weights, or of "
        "each batch; auto: frozen from pretrained weights, live from scratch",
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
        f"null: {FEWEST_VIEWS}, or more, so that none is shown more than `repeats` times",
    )
    repeats: Count | None = Field(
        None,
        description="how often a view is shown at most, where `views` is null; null: 1 from "
        f"pretrained weights, {SHOWN_AT_MOST} from scratch",
    )
    crop_scale: tuple[Share, Annotated[float, Field(gt=0, le=1)]] | None = Field(
        None,
        description="share of the image's area that a view shows, from and to; null: "
        f"{list(CROPS_FROM_WEIGHTS)} from pretrained weights, {list(CROPS)} from scratch",
    )
    mix: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="share of the views in which each image is blended with another, for teacher "
        "and student alike; the image itself is never one of them. null: "
        f"{MIXED_FROM_WEIGHTS:g} for a student that starts from weights, 0 from scratch and for a "
        "method that learns from labels",
    )
    synthetic: Annotated[int, Field(ge=0)] = Field(
        MOST_SYNTHETIC,
        description="synthetic images (noise, discs, rectangles) that help the closed form to tell "
        f"images of other tasks; at most {SYNTHETIC_PER_IMAGE} for each training image",
    )
    validation: Share = Field(
        0.1, description="share of the training images kept back to choose the best checkpoint"
    )
    stop_after: Count | None = Field(
        None,
        description="stop after so many epochs without a better student; null: train to the end, "
        "where the learning rate has fallen and students are best",
    )
    teacher: Literal["auto", "cached", "online"] = Field(
        "auto",
        description="run the teacher once for each view, or at every step (a new view each epoch); "
        "auto: once, or with `minutes` as is faster by the rates measured for it",
    )
    teacher_precision: Precision = Field(
        "auto", description="number type of the teacher; auto: bf16 if the hardware has it"
    )
    disk_gb: Positive | None = Field(
        None,
        description="limit for teacher features, decoded images and views on disk, 10^9 bytes; "
        "null: a third of what is free, settled when the run begins and kept in disk_limit.json",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of split, views and weights")
    precision: Precision = Field(
        "auto", description="number type of training; auto: fp32 on a CPU, bf16 or fp16 on a GPU"
    )
    deterministic: bool = Field(
        False,
        description="on a GPU take only algorithms that give the same bits each time, which are "
        "slower; a CPU gives them anyway",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train and embed")
    workers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="threads that read images; null: as many as there are cores, up to 16"
    )
    checkpoint_s: Annotated[float, Field(ge=0)] = Field(
        30, description="seconds between checkpoints; a killed run loses no more than this"
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Return what is wrong between keys: the key to correct, and the reason."""
        found = list[tuple[str, str]]()
        if self.crops[0] > self.crops[1]:
            found.append(("crop_scale", "the first share is above the second"))
        if (self.batch or 32) < 3 * self.accumulate and self.accumulate > 1:
            found.append(("accumulate", "leaves parts of under 3 images"))
        if self.mix and not METHODS[self.method].needs_teacher:
            what = f"{self.method} learns from labels, and a mix of two images has none"
            found.append(("mix", f"{what}; set it to 0 or leave it out"))
        if self.patience != 1 and self.epochs is not None:
            what = "multiplies the default number of epochs, and distill.epochs gives a number"
            found.append(("patience", f"{what}; leave one of the two out"))
        if self.minutes is not None:
            for key, given in (("epochs", self.epochs), ("shown", self.shown)):
                if given is not None:
                    what = f"settles the epochs by the time, and distill.{key} gives them"
                    found.append(("minutes", f"{what}; leave one of the two out"))
            if self.patience != 1:
                what = "settles the epochs by the time, and distill.patience multiplies them"
                found.append(("minutes", f"{what}; leave one of the two out"))
        return found

    @property
    def crops(self) -> tuple[float, float]:
        """Share of the image's area that a view shows, from and to."""
        return self.crop_scale or CROPS

    def settled(self, *, from_weights: bool, on_gpu: bool) -> Distill:
        """Fill in the defaults that follow from the student's weights and from the device."""
        frozen = "frozen" if from_weights else "live"
        changes: dict[str, object] = {}
        if self.teacher == "auto" and self.minutes is None:
            changes["teacher"] = "cached"
        if self.batch_norm == "auto":
            changes["batch_norm"] = frozen
        if from_weights and self.token_maps == "auto":
            changes["token_maps"] = "off"
        if self.crop_scale is None:
            changes["crop_scale"] = CROPS_FROM_WEIGHTS if from_weights else CROPS
        if from_weights and self.lr is None:
            changes["lr"] = LR_FROM_WEIGHTS
        if from_weights and self.repeats is None:
            changes["repeats"] = 1
        if from_weights and self.shown is None:
            changes["shown"] = SHOWN_ON_GPU if on_gpu else SHOWN_FROM_WEIGHTS
        return self.model_copy(update=changes)

    def epochs_for(self, images: int) -> int:
        """Passes over so many training images."""
        if self.epochs is not None:
            return self.epochs
        wanted = round((self.shown or VIEWS_SHOWN) / max(1, images))
        fewest = FEWEST_EPOCHS if self.shown is None else FEWEST_SHOWN_EPOCHS
        default = max(fewest, min(MOST_EPOCHS, wanted))
        return max(1, round(default * self.patience))

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
        if not epochs:
            return min(self.views or MOST_START_VIEWS, MOST_START_VIEWS)
        if self.teacher == "online":
            return epochs
        by_default = max(FEWEST_VIEWS, math.ceil(epochs / (self.repeats or SHOWN_AT_MOST)))
        return min(epochs, self.views or by_default)

    def mix_for(self, *, pretrained: bool) -> float:
        """Share of the views that are mixed.

        Args:
            pretrained: whether the student starts from weights.
        """
        if not METHODS[self.method].needs_teacher:
            return 0.0  # nobody answers for a blend of two images
        if self.mix is not None:
            return self.mix
        return MIXED_FROM_WEIGHTS if pretrained else 0.0

    def mixed_views(self, images: int, *, pretrained: bool) -> frozenset[int]:
        """Numbers of the views that are mixed, spread evenly; never 0, the image itself.

        Whether a number is mixed depends on the share alone, so that a longer training finds the
        views of a shorter one made. A single image has no other to be mixed with, and the closed
        form alone has no use for one.
        """
        share = self.mix_for(pretrained=pretrained)
        if images < 2 or not self.epochs_for(images):
            return frozenset()
        # Rounded: 0.07 * 100 is a little over 7
        due = [math.ceil(round(number * share, 9)) for number in range(self.views_for(images))]
        return frozenset(n for n in range(1, len(due)) if due[n] > due[n - 1])

    def unmixed_views(self, images: int, *, pretrained: bool) -> list[int]:
        """Numbers of the views that show one image alone, in order; the first is 0."""
        mixed = self.mixed_views(images, pretrained=pretrained)
        return [number for number in range(self.views_for(images)) if number not in mixed]

    def synthetic_for(self, images: int) -> int:
        """Synthetic images beside so many training images."""
        return min(self.synthetic, SYNTHETIC_PER_IMAGE * images)

    def start_views(self, images: int) -> list[int]:
        """Views that the closed form is solved from: the image itself, then others unmixed."""
        affordable = max(1, min(MOST_START_VIEWS, START_SHOWN // max(1, images)))
        return self.unmixed_views(images, pretrained=True)[:affordable]
