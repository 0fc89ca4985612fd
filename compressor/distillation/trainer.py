"""The training loop: a student learns what the teacher's head says of fixed seeded views."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from compressor.data.dataset import ImageSet
from compressor.data.image_store import ImageStore
from compressor.data.loading import Augmentation, Compute, ViewId, Views, load_batches, to_input
from compressor.data.view_cache import ViewCache
from compressor.distillation import objectives
from compressor.distillation.methods import tintem_head
from compressor.distillation.methods.tintem import TinTeM
from compressor.distillation.objectives import QUALITY, Centre, Objective
from compressor.distillation.teacher_features import CachedFeatures, OnlineFeatures, Teaching
from compressor.distillation.validation import MAX_IMAGES, Validation
from compressor.models.encoder import Encoder
from compressor.models.features import Features
from compressor.models.precision import autocast, training_dtype
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from runtime.files import replacing, write_json, write_text
from runtime.progress import Track, silent
from runtime.sampling import evenly

logger = logging.getLogger(__name__)

FEW_IMAGES, FEW_STEPS = 500, 400
"""Under these a student from scratch is warned of."""
_FINAL_LR = 0.01  # of the highest, at the end of the cosine


@dataclass(frozen=True)
class Material:
    """What a student is made from."""

    train: ImageSet
    augment: Augmentation
    store: ImageStore | None
    """The training images decoded; None decodes their files again for every view."""
    rendered: bool
    """Whether a view is kept when it has been cut, to be shown again."""
    teaching: Teaching | None
    """What the teacher says of their views; None for `supervised`."""
    validation: ImageSet
    validation_features: npt.NDArray[np.float32]
    """[Nv, Dt] of the teacher, images as the device sees them."""

    def views(self, student: Encoder) -> Views:
        """The training views at the student's size, and at the teacher's if it is to look too."""
        shown = () if self.teaching is None else self.teaching.inputs
        return Views(self.train, self.augment, (*shown, student.preprocess), self.store)


class Training:
    """All that changes while a student learns, and the only code that changes it."""

    def __init__(
        self,
        student: Encoder,
        material: Material,
        spec: Distill,
        compute: Compute,
        note: Callable[[str], None] = logger.info,
    ) -> None:
        self.encoder, self.material = student, material
        self.spec, self.compute = spec, compute
        self.highest_lr = spec.lr_for(transformer=student.is_transformer)
        self.precision = training_dtype(spec.precision, compute)
        self.batch = spec.batch_for(len(material.train))
        self.steps_per_epoch = len(material.train) // self.batch
        self.epochs = spec.epochs_for(len(material.train))
        self.steps = self.epochs * self.steps_per_epoch
        self.views = spec.views_for(len(material.train))
        self.labels = torch.from_numpy(material.train.labels)
        sample = None if material.teaching is None else material.teaching.sample()
        self.with_maps = sample is not None and sample.maps is not None
        self.centre = Centre(sample, wanted=spec.center)
        if sample is not None:
            sample = self.centre.taken_off(sample)

        self.student = student.module.to(compute.device)
        self.student.to(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            classes = len(material.train.classes)
            built = objectives.build(spec, student, sample, classes=classes, note=note)
        self.objective: Objective = built.to(compute.device)
        modules = nn.ModuleList([self.student, self.objective])
        groups = parameter_groups(modules, spec.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=self.highest_lr, fused=True)
        self.scaler = torch.amp.GradScaler(enabled=self.precision is torch.float16)
        self.done = 0
        """Steps done."""
        self.sums = [0.0, 0.0]
        """Of the objective's own and the student's loss, over the steps of this epoch."""
        self.log: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"quality": -math.inf, "epoch": -1, "state": {}}

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        share = lr_share(self.done, self.steps, self.spec, self.steps_per_epoch)
        return self.highest_lr * share

    @property
    def has_stopped(self) -> bool:
        """Whether `patience` epochs have gone by without a better student."""
        epoch, best = self.done // self.steps_per_epoch, self.best["epoch"]
        patience = self.spec.patience
        if patience is None or best < 0 or self.done == self.steps:
            return False
        return bool(epoch - best >= patience)

    def step(self, jobs: list[ViewId], batch: tuple[Tensor, ...]) -> None:
        """Learn from one batch of views.

        Args:
            jobs: B pairs of row and view.
            batch: what `Material.views` loads of them: pixels uint8 [B, S, S, 3] at the teacher's
                size if it is to look too, and at the student's size.

        Raises:
            InputError: the loss is no longer finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        *shown, pixels = batch
        own_loss, target = self.objective.target(self._teacher(jobs, shown), self._labels(jobs))
        if own_loss is not None:
            self._backward(own_loss)
        self.student.train()
        losses = [0.0 if own_loss is None else own_loss.item(), 0.0]
        parts = (each.tensor_split(self.spec.accumulate) for each in (pixels, target))
        for part, wanted in zip(*parts, strict=True):
            images = to_input(part, self.encoder.preprocess, self.compute.device)
            answer = self._answer(images)
            loss = self.objective.distance(answer, wanted).sum() / len(jobs)
            self._backward(loss)
            losses[1] += loss.item()
        if not math.isfinite(sum(losses)):
            raise InputError(
                f"the loss is no longer finite at step {self.done + 1} of {self.steps} (learning "
                f"rate {self.lr:.2g}, head {losses[0]:.3g}, student {losses[1]:.3g}).\n"
                "  Lower distill.lr, raise distill.warmup_epochs, or set distill.precision to fp32."
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.sums = [total + loss for total, loss in zip(self.sums, losses, strict=True)]
        self.done += 1

    def end_epoch(self, figures: dict[str, float], seconds: float) -> dict[str, Any]:
        """Note the epoch, and keep the student if it is the best so far."""
        epoch = self.done // self.steps_per_epoch
        quality = figures.get(QUALITY[self.spec.method], -math.inf)
        is_best = quality > self.best["quality"]
        if is_best:
            self.best = {"quality": quality, "epoch": epoch, "state": _on_cpu(self.student)}
        head, student = (each / self.steps_per_epoch for each in self.sums)
        self.sums = [0.0, 0.0]
        losses = {"head_loss": head, "student_loss": student}
        entry = {"epoch": epoch, "lr": self.lr, **losses, **figures, "best_so_far": is_best}
        entry["seconds"] = round(seconds, 2)
        self.log.append(entry)
        return entry

    def summary(self) -> dict[str, Any]:
        """What was done, for the report."""
        asked = {CachedFeatures: "cached", OnlineFeatures: "online"}
        return {
            "images": len(self.material.train),
            "views": self.views,
            "batch": self.batch,
            "steps": self.done,
            "teacher": asked.get(type(self.material.teaching)),
            "token_maps": list(self.encoder.map_shape or ())[:2] if self.with_maps else None,
            **self._head_summary(),
        }

    def _head_summary(self) -> dict[str, Any]:
        """TinTeM's head, and how well it keeps the teacher's cosines on validation images."""
        if not isinstance(self.objective, TinTeM):
            return {}
        head = self.objective.head.cpu()
        kinds = {nn.Identity: "identity", nn.Linear: "pca", tintem_head.TeacherHead: "learned"}
        named = {"head": kinds[type(head)]}
        if self.spec.head == "pca-then-learned" or named["head"] == "learned":
            named["head_fit"] = self.spec.head_fit
        rows = evenly(len(self.material.validation), MAX_IMAGES)
        if len(rows) < 3:
            return named
        features = Features(torch.from_numpy(self.material.validation_features[rows]), None)
        centred = self.centre.taken_off(features).pooled
        return {
            **named,
            "head_fidelity": asdict(tintem_head.figures(head, centred)),
            "head_and_centring": asdict(
                tintem_head.figures(head, centred, against=features.pooled)
            ),
        }

    def schedule(self) -> Iterator[list[ViewId]]:
        """The batches still to come: a new order each epoch, its incomplete last batch dropped."""
        images = len(self.material.train)
        for epoch in range(self.done // self.steps_per_epoch, self.epochs):
            order = np.random.default_rng([self.spec.seed, epoch]).permutation(images)
            first = max(0, self.done - epoch * self.steps_per_epoch)
            for start in range(first * self.batch, self.steps_per_epoch * self.batch, self.batch):
                rows = order[start : start + self.batch]
                yield [(int(row), epoch % self.views) for row in rows]

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "done": self.done,
            "sums": self.sums,
            "log": json.dumps(self.log),
            "best": self.best,
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of `save`."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.student.load_state_dict(state["student"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"].cpu())
        self.done, self.sums, self.best = state["done"], state["sums"], state["best"]
        self.log = json.loads(state["log"])

    def _teacher(self, jobs: list[ViewId], shown: Sequence[Tensor]) -> Features:
        if self.material.teaching is None:
            return Features(torch.empty(len(jobs), 0), None)
        found = self.material.teaching.of(jobs, shown).to(self.compute.device)
        return self.centre.taken_off(found)

    def _labels(self, jobs: list[ViewId]) -> Tensor:
        return self.labels[[row for row, _ in jobs]].to(self.compute.device)

    def _answer(self, images: Tensor) -> Features:
        with autocast(self.precision, self.compute):
            if self.with_maps:
                return self.student.features(images).float()
            return Features(self.student(images).float(), None)

    def _backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]


def distill(
    student: Encoder,
    material: Material,
    spec: Distill,
    compute: Compute,
    work: Path,
    *,
    track: Track = silent,
    note: Callable[[str], None] = logger.info,
) -> dict[str, Tensor]:
    """Train the student; continue from `work/checkpoint.pt` if it is there.

    The student learns to equal what TinTeM's head says of the teacher's features (1 - cosine); a
    joint head learns beside it to keep the teacher's angles. The best epoch is chosen by
    similarity correlation on the validation images (supervised: by kNN accuracy); with too few of
    them, the last epoch is taken.

    Args:
        student: untrained; its module is trained in place.
        material: images and teacher features.
        spec: the recipe's `distill:`.
        compute: where to train.
        work: folder for the checkpoint, train.jsonl and training.json.
        track: shows the progress.
        note: is told a line an epoch.

    Returns:
        The best student's state dict, on the CPU.

    Raises:
        InputError: the loss is no longer finite.
        MissingDependencyError: the precision asked for does not run here.
    """
    with torch.random.fork_rng(devices=[]):  # dropout and drop path draw from torch's own generator
        torch.manual_seed(spec.seed)
        training = Training(student, material, spec, compute, note)
        _warn_of_small_sets(training, note)
        checkpoint = work / "checkpoint.pt"
        if checkpoint.exists():
            training.load(checkpoint)
            note(f"continuing after step {training.done} of {training.steps}")
        validation = Validation.load(
            material.validation, material.validation_features, student, compute
        )
        views = material.views(student)
        shown = ViewCache(views, training.views, work) if material.rendered else views
        loaded = load_batches(shown, training.schedule(), compute.workers)
        batches = zip(training.schedule(), loaded, strict=True)
        saved = started = time.monotonic()
        for jobs, batch in track(batches, label="distilling", total=training.steps - training.done):
            if training.has_stopped:
                break
            training.step(jobs, batch)
            if training.done % training.steps_per_epoch == 0:
                seconds, started = time.monotonic() - started, time.monotonic()
                entry = training.end_epoch(validation.measure(training.student), seconds)
                lines = (json.dumps(each) + "\n" for each in training.log)
                write_text(work / "train.jsonl", "".join(lines))
                note(_epoch_line(entry))
            if time.monotonic() - saved >= spec.checkpoint_s:
                training.save(checkpoint)
                saved = time.monotonic()
        if training.has_stopped:
            note(
                f"stopped early: no better student in the last {spec.patience} epochs; "
                f"epoch {training.best['epoch']} is kept"
            )
    write_json(work / "training.json", training.summary())
    best = training.best["state"] or _on_cpu(training.student)
    return {key: value.contiguous() for key, value in best.items()}


def _warn_of_small_sets(training: Training, note: Callable[[str], None]) -> None:
    images, batch = len(training.material.train), training.batch
    if training.spec.batch and batch < training.spec.batch:
        note(f"batch {batch}, not {training.spec.batch}: there are no more training images")
    if training.encoder.origin["weights"] != "none":
        return
    millions = sum(each.numel() for each in training.student.parameters()) / 1e6
    if images < FEW_IMAGES or training.steps < FEW_STEPS:
        note(
            f"warning: {images} images and {training.steps} steps are few to teach "
            f"{millions:.1f} million weights from scratch: expect a student well below its "
            "teacher.\n  Add unlabelled images, raise distill.epochs, or begin from pretrained "
            "weights (student.weights)."
        )


def lr_share(step: int, steps: int, spec: Distill, steps_per_epoch: int) -> float:
    """Of the highest learning rate: linear warm-up, then a cosine down to 1 %."""
    warmup = min(spec.warmup_epochs * steps_per_epoch, steps / 5)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    return _FINAL_LR + (1 - _FINAL_LR) * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels; none for biases, norms and other 1-d weights."""
    parameters = [each for each in module.parameters() if each.requires_grad]
    decayed = [each for each in parameters if each.ndim > 1]
    plain = [each for each in parameters if each.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def _epoch_line(entry: dict[str, Any]) -> str:
    words = [f"epoch {entry['epoch']}: loss {entry['student_loss']:.4f}"]
    if entry["head_loss"]:
        words += [f"head {entry['head_loss']:.4f}"]
    if "similarity" in entry:
        words += [f"validation similarity r {entry['similarity']:.3f}"]
    if "knn_accuracy" in entry:
        words += [f"validation kNN {entry['knn_accuracy']:.3f}"]
    return ", ".join([*words, f"{entry['seconds']:.1f} s"])


def _on_cpu(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
