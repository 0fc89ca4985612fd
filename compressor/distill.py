"""The training loop: a student learns what the teacher's head says of fixed seeded views."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from compressor.baselines import Cosine, Proteus, Supervised
from compressor.embeddings import Compute, Job, Pixels, ViewPixels, load_batches, to_input
from compressor.encoders import Encoder
from compressor.images import ImageSet
from compressor.recipe import Distill
from compressor.tintem import TeacherHead, TinTeM, pca_head
from runtime import fidelity
from runtime.errors import InputError, MissingDependencyError
from runtime.files import replacing, write_text
from runtime.golden import evenly
from runtime.progress import Track, silent

logger = logging.getLogger(__name__)

MAX_VALIDATION = 512
"""Validation images that choose the best checkpoint, at most: they are embedded each epoch."""
QUALITY = {
    "tintem": "similarity",
    "proteus": "similarity",
    "cosine": "similarity",
    "supervised": "knn_accuracy",
}
"""The validation figure that chooses the best epoch of each method."""
_PCA_FEATURES = 20_000  # teacher features that a PCA is made of, evenly over all views
_FINAL_LR = 0.01  # of the highest, at the end of the cosine


@dataclass(frozen=True)
class Material:
    """What a student is made from."""

    train: ImageSet
    features: npt.NDArray[np.float32]
    """[V, N, Dt] of the teacher, for the fixed views of the N training images."""
    validation: ImageSet
    validation_features: npt.NDArray[np.float32]
    """[Nv, Dt] of the teacher, images as the device sees them."""


Objective = TinTeM | Proteus | Cosine | Supervised
"""What a student is asked to match: `target` of a batch, and `distance` of answers from it."""


class Training:
    """All that changes while a student learns, and the only code that changes it."""

    def __init__(
        self, student: Encoder, material: Material, spec: Distill, compute: Compute
    ) -> None:
        self.encoder, self.material = student, material
        self.spec, self.compute = spec, compute
        self.precision = training_dtype(spec, compute)
        self.batch = min(spec.batch, len(material.train))
        self.steps_per_epoch = len(material.train) // self.batch
        self.steps = spec.epochs * self.steps_per_epoch
        self.labels = torch.from_numpy(material.train.labels)
        self.centre = material.features.mean(axis=(0, 1)) if spec.center else np.float32(0)

        self.student: nn.Module = student.module.to(compute.device)
        self.student.to(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            self.objective: Objective = self._objective().to(compute.device)
        modules = nn.ModuleList([self.student, self.objective])
        self.optimizer = torch.optim.AdamW(parameter_groups(modules, spec.weight_decay), lr=spec.lr)
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
        return learning_rate(self.done, self.steps, self.spec, self.steps_per_epoch)

    def step(self, jobs: list[Job], pixels: Tensor) -> None:
        """Learn from one batch of views: `pixels` uint8 [B, S, S, 3].

        Raises:
            InputError: the loss is no longer finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        rows, numbers = (list(each) for each in zip(*jobs, strict=True))
        features = self.material.features[numbers, rows] - self.centre
        teacher = torch.from_numpy(features).to(self.compute.device)
        own_loss, target = self.objective.target(teacher, self.labels[rows].to(teacher.device))
        if own_loss is not None:
            self._backward(own_loss)
        self.student.train()
        losses = [0.0 if own_loss is None else own_loss.item(), 0.0]
        parts, targets = (each.chunk(self.spec.accumulate) for each in (pixels, target))
        for part, wanted in zip(parts, targets, strict=True):
            with self._autocast():
                answer = self.student(to_input(part, self.encoder.preprocess, self.compute.device))
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

    def schedule(self) -> Iterator[list[Job]]:
        """The batches still to come: a new order each epoch, its incomplete last batch dropped."""
        images = len(self.material.train)
        for epoch in range(self.done // self.steps_per_epoch, self.spec.epochs):
            order = np.random.default_rng([self.spec.seed, epoch]).permutation(images)
            first = max(0, self.done - epoch * self.steps_per_epoch)
            for start in range(first * self.batch, self.steps_per_epoch * self.batch, self.batch):
                rows = order[start : start + self.batch]
                yield [(int(row), epoch % self.spec.views) for row in rows]

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

    def _objective(self) -> Objective:
        spec, teacher_dim = self.spec, self.material.features.shape[-1]
        match spec.method:
            case "tintem":
                return TinTeM(self._head())
            case "proteus":
                return Proteus(teacher_dim, self.encoder.dim)
            case "cosine":
                return Cosine(teacher_dim, self.encoder.dim)
            case "supervised":
                return Supervised(len(self.material.train.classes), self.encoder.dim)

    def _head(self) -> nn.Module:
        teacher_dim, dim = self.material.features.shape[-1], self.encoder.dim
        if self.spec.head == "learned":
            return TeacherHead(teacher_dim, dim)
        require_head(self.spec, teacher_dim, dim)
        flat = self.material.features.reshape(-1, teacher_dim)
        step = max(1, len(flat) // _PCA_FEATURES)
        features = torch.from_numpy(np.ascontiguousarray(flat[::step] - self.centre))
        return pca_head(features, dim, learns=self.spec.head == "pca-then-learned")

    def _backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        return torch.autocast(self.compute.device.type, dtype=self.precision)


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

    With TinTeM, each step the head learns to keep the teacher's angles within the whole batch
    (L_global), and the student to equal the head's answer (1 - cosine). The best epoch is chosen by
    similarity correlation on the validation images (supervised: by kNN accuracy); with too few of
    them, the last epoch is taken.

    Args:
        student: untrained; its module is trained in place.
        material: images and teacher features.
        spec: the recipe's `distill:`.
        compute: where to train.
        work: folder for the checkpoint and train.jsonl.
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
        training = Training(student, material, spec, compute)
        if training.batch < spec.batch:
            note(f"batch {training.batch}, not {spec.batch}: there are no more training images")
        checkpoint = work / "checkpoint.pt"
        if checkpoint.exists():
            training.load(checkpoint)
            note(f"continuing after step {training.done} of {training.steps}")
        validation = _Validation.load(material, student, compute)
        dataset = ViewPixels(material.train, student.preprocess, spec.seed, spec.crop_scale)
        loaded = load_batches(dataset, training.schedule(), compute.workers)
        batches = zip(training.schedule(), loaded, strict=True)
        saved = started = time.monotonic()
        for jobs, pixels in track(
            batches, label="distilling", total=training.steps - training.done
        ):
            training.step(jobs, pixels)
            if training.done % training.steps_per_epoch == 0:
                seconds, started = time.monotonic() - started, time.monotonic()
                entry = training.end_epoch(validation.measure(training.student), seconds)
                lines = (json.dumps(each) + "\n" for each in training.log)
                write_text(work / "train.jsonl", "".join(lines))
                note(_epoch_line(entry))
            if time.monotonic() - saved >= spec.checkpoint_s:
                training.save(checkpoint)
                saved = time.monotonic()
    best = training.best["state"] or _on_cpu(training.student)
    return {key: value.contiguous() for key, value in best.items()}


def learning_rate(step: int, steps: int, spec: Distill, steps_per_epoch: int) -> float:
    """Linear warm-up, then a cosine down to 1 % of the highest."""
    warmup = min(spec.warmup_epochs * steps_per_epoch, steps / 5)
    if step < warmup:
        return spec.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    return spec.lr * (_FINAL_LR + (1 - _FINAL_LR) * 0.5 * (1 + math.cos(math.pi * progress)))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels; none for biases, norms and other 1-d weights."""
    parameters = [each for each in module.parameters() if each.requires_grad]
    decayed = [each for each in parameters if each.ndim > 1]
    plain = [each for each in parameters if each.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


@dataclass(frozen=True)
class _Validation:
    """A few validation images, decoded once, with the teacher's view of them."""

    pixels: Tensor
    teacher: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    classes: int
    student: Encoder
    compute: Compute

    @classmethod
    def load(cls, material: Material, student: Encoder, compute: Compute) -> _Validation:
        images = material.validation
        # Evenly over the whole part: it is in the order of the class folders.
        rows = evenly(len(images), MAX_VALIDATION)
        dataset = Pixels(images.paths, student.preprocess)
        pixels = torch.cat(
            list(load_batches(dataset, [[int(row)] for row in rows], compute.workers))
        )
        labels = images.labels[rows]
        teacher = material.validation_features[rows]
        return cls(pixels, teacher, labels, len(images.classes), student, compute)

    def measure(self, module: nn.Module) -> dict[str, float]:
        """Similarity correlation with the teacher; leave-one-out kNN accuracy with labels."""
        module.eval()
        with torch.inference_mode():
            parts = [
                module(to_input(part, self.student.preprocess, self.compute.device)).float().cpu()
                for part in torch.split(self.pixels, 64)
            ]
        embedding = torch.cat(parts).numpy()
        figures = {}
        if len(embedding) > 2 and np.all(np.isfinite(embedding)) and np.all(embedding.any(axis=1)):
            figures["similarity"] = fidelity.pair_correlation(embedding, self.teacher)
            known = self.labels >= 0
            if known.sum() > 2:
                votes = fidelity.knn_votes_within(
                    embedding[known], self.labels[known], self.classes
                )
                right = votes.argmax(axis=1) == self.labels[known]
                figures["knn_accuracy"] = float(right.mean())
        return figures


def _epoch_line(entry: dict[str, Any]) -> str:
    words = [f"epoch {entry['epoch']}: loss {entry['student_loss']:.4f}"]
    words += [f"head {entry['head_loss']:.4f}"]
    if "similarity" in entry:
        words += [f"validation similarity r {entry['similarity']:.3f}"]
    if "knn_accuracy" in entry:
        words += [f"validation kNN {entry['knn_accuracy']:.3f}"]
    return ", ".join([*words, f"{entry['seconds']:.1f} s"])


def require_head(spec: Distill, teacher_dim: int, dim: int) -> None:
    """Refuse a PCA of more directions than the teacher has.

    Raises:
        InputError: the student is wider than the teacher.
    """
    if spec.method == "tintem" and spec.head != "learned" and dim > teacher_dim:
        raise InputError(
            f"distill.head is {spec.head}, and a PCA of {teacher_dim} teacher features has no "
            f"{dim} directions; lower student.embedding, or use head: learned"
        )


def training_dtype(spec: Distill, compute: Compute) -> torch.dtype | None:
    """The autocast type of the student's step, None for float32.

    Raises:
        MissingDependencyError: the precision asked for does not run here.
    """
    on_gpu = compute.device.type == "cuda"
    wanted = spec.precision
    if wanted == "auto":
        # On two AVX-512 cores bfloat16 training was slower for a MobileNet and faster for a ViT.
        wanted = "fp32" if not on_gpu else "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if wanted == "fp32":
        return None
    if wanted == "fp16" and not on_gpu:
        raise MissingDependencyError(
            "distill.precision is fp16, which needs a GPU to train with; use fp32, bf16 or auto"
        )
    if wanted == "bf16" and on_gpu and not torch.cuda.is_bf16_supported():
        raise MissingDependencyError("distill.precision is bf16, which this GPU lacks; use fp16")
    return torch.bfloat16 if wanted == "bf16" else torch.float16


def _on_cpu(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
