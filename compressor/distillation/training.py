"""The state of a training, and one step of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from msgspec import structs
from torch import Tensor, nn

from compressor.data.loading import ViewId, to_input
from compressor.distillation.epochs import Best
from compressor.distillation.methods.centring import Centring
from compressor.distillation.methods.method import Method, Setup, method_class
from compressor.distillation.running_loss import RunningLoss
from compressor.distillation.schedule import Schedule, parameter_groups
from compressor.distillation.start.synthetic import SyntheticAnswers
from compressor.distillation.training_data import TrainingData
from compressor.distillation.validation import MAX_IMAGES, Validation
from compressor.distributed.batch_norm import over_all_processes
from compressor.events import EpochEnded
from compressor.models.compute import Compute, autocast, training_dtype
from compressor.models.embedding_net import WithFeatures, freeze_statistics
from compressor.models.encoder import Encoder
from compressor.models.features import Features
from compressor.recipe.schema import Distill
from runtime.sampling import evenly


@dataclass(frozen=True)
class Start:
    """Where a training begins: weights of the student and of the method's heads, on the CPU."""

    student: dict[str, Tensor]
    heads: dict[str, Tensor]
    synthetic: SyntheticAnswers | None = None
    """What the layer was solved from beside the images."""


class Training:
    """All that changes while a student learns, and the only code that changes it."""

    def __init__(
        self,
        student: Encoder,
        data: TrainingData,
        spec: Distill,
        compute: Compute,
        note: Callable[[str], None],
    ) -> None:
        self.encoder, self.data = student, data
        self.spec, self.compute, self.group = spec, compute, compute.group
        # Statistics of batches that are all mixed, or not at all, would swing from epoch to epoch
        self.schedule = Schedule(spec, len(data.train), interleaved=bool(data.augment.mixed))
        self.schedule.require_parts(self.group.size)
        self.highest_lr = spec.lr_for(transformer=student.is_transformer)
        self.precision = training_dtype(spec.precision, compute)
        self.labels = torch.from_numpy(data.train.labels)
        sample = None if data.teacher is None else data.teacher.sample()
        self.centring = Centring(sample, enabled=spec.center)
        if sample is not None:
            sample = self.centring.apply(sample)
        with_maps = sample is not None and sample.maps is not None

        self.student = student.module.to(compute.device)
        self.student.to(memory_format=torch.channels_last)
        if spec.batch_norm != "frozen" and self.group.size > 1:
            over_all_processes(self.student)
        self.forward = WithFeatures(self.student, with_maps=with_maps)
        """The student as a step calls it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            classes = len(data.train.classes)
            built = method_class(spec.method).build(Setup(spec, student, sample, classes, note))
        self.method: Method[Any] = built.to(compute.device)
        self.group.copy_from_first([*self.student.state_dict().values()])
        self.group.copy_from_first([*self.method.state_dict().values()])
        if self.group.size > 1:
            self.method.gathered = partial(self.group.joined, whole=self.schedule.batch)
        learns = nn.ModuleList([self.student, self.method])
        solved = []
        if student.has_start and isinstance(self.student.embedding, nn.Linear):
            solved = [self.student.embedding, *self.method.solved()]
        groups = parameter_groups(learns, spec.weight_decay, solved)
        self.optimizer = torch.optim.AdamW(groups, lr=self.highest_lr, fused=True)
        self.scaler = torch.amp.GradScaler(enabled=self.precision is torch.float16)
        self.done = 0
        """Steps done."""
        self.losses = RunningLoss(self.group, self.schedule.steps)
        self.log: list[EpochEnded] = []
        self.best = Best()

    @cached_property
    def replicated(self) -> Any:
        """The student as a step calls it, where its gradients become the mean of all processes."""
        if self.group.size == 1:
            return self.forward
        side = self.encoder.preprocess.size_px
        self.student.eval()
        seen = self.forward(torch.zeros(2, 3, side, side, device=self.compute.device))
        sum(each.sum() for each in (seen.pooled, seen.maps) if each is not None).backward()
        for parameter in self.student.parameters():
            if parameter.grad is None:  # nothing that is learnt from depends on it
                parameter.requires_grad_(False)
        self.optimizer.zero_grad(set_to_none=True)
        return self.group.replicated(self.forward)

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return self.highest_lr * self.schedule.lr_share(self.done)

    @property
    def at_epoch_end(self) -> bool:
        """Whether the last step ended an epoch."""
        return self.done % self.schedule.steps_per_epoch == 0

    @property
    def has_ended(self) -> bool:
        """Whether all steps are done."""
        return self.done == self.schedule.steps

    @property
    def has_stopped(self) -> bool:
        """Whether `stop_after` epochs have gone by without a better student."""
        limit = self.spec.stop_after
        if limit is None or self.best.epoch < 0 or self.has_ended:
            return False
        return self.done // self.schedule.steps_per_epoch - self.best.epoch >= limit

    def validation(self) -> Validation:
        """Decode validation images, with the teacher's embeddings of them, centred."""
        centred = self.data.validation_features - self.centring.pooled.cpu().numpy()
        return Validation.load(self.data.validation, centred, self.encoder, self.compute)

    def load(self, start: Start) -> None:
        """Take the weights of a student that is solved already, and of the method's heads."""
        self.student.load_state_dict(start.student)
        self.method.load_state_dict(start.heads)

    def begin(self, scores: dict[str, float]) -> EpochEnded:
        """Log epoch 0, and keep the student as it is: the best one until a better one comes.

        Args:
            scores: of that student on the validation images; without the method's own, nothing can
                be better or worse, and the student is not kept.
        """
        chooses = self.method.quality in scores
        if chooses:
            self.best = Best(scores[self.method.quality], 0, self.student_state())
        ended = EpochEnded(
            epoch=0,
            epochs=self.schedule.epochs,
            lr=0.0,
            head_loss=None,
            student_loss=None,
            scores=scores,
            best_so_far=chooses,
            seconds=0.0,
        )
        self.log.append(ended)
        return ended

    def step(self, jobs: Sequence[ViewId], batch: tuple[Tensor, ...]) -> None:
        """Learn from one batch of views.

        Args:
            jobs: B pairs of row and view; of several processes, this one's part of the batch.
            batch: what `TrainingData.views` loads of them: pixels uint8 [B, S, S, 3], at the
                teacher's size where it runs at every step, and at the student's size.

        Raises:
            InputError: the loss of this step or of one shortly before is not finite.
        """
        student = self.replicated  # made before the first gradient
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["share"]
        *for_teacher, pixels = batch
        labels = self.labels[[row for row, _ in jobs]].to(self.compute.device)
        head_loss, target = self.method.target(self.teacher_features(jobs, for_teacher), labels)
        if head_loss is not None:
            self._backward(head_loss)
        self.student.train()
        if self.spec.batch_norm == "frozen":
            freeze_statistics(self.student)
        seen = torch.zeros((), dtype=torch.float64, device=self.compute.device)
        whole = len(jobs) if self.group.size == 1 else self.schedule.batch
        parts = (each.tensor_split(self.schedule.parts) for each in (pixels, target))
        for number, (pixels_part, target_part) in enumerate(zip(*parts, strict=True), 1):
            images = to_input(pixels_part, self.encoder.preprocess, self.compute.device)
            with self._exchanging(last=number == self.schedule.parts):
                with autocast(self.precision, self.compute):
                    features = student(images).float()
                loss = self.method.distance(features, target_part).sum() / whole
                self._backward(loss)
            seen += loss.detach()
        self.group.mean_gradients(self.method.parameters())
        head = None if head_loss is None else head_loss.detach().double()
        self.losses.add(self.done + 1, self.lr, head, seen)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1

    def end_epoch(self, scores: dict[str, float], seconds: float) -> EpochEnded:
        """Log the epoch, and keep the student if it is the best so far."""
        epoch = self.done // self.schedule.steps_per_epoch
        quality = scores.get(self.method.quality, -math.inf)
        is_best = quality > self.best.quality
        if is_best:
            self.best = Best(quality, epoch, self.student_state())
        head, student = self.losses.end_epoch(self.schedule.steps_per_epoch)
        ended = EpochEnded(
            epoch=epoch,
            epochs=self.schedule.epochs,
            lr=self.lr,
            head_loss=head,
            student_loss=student,
            scores=scores,
            best_so_far=is_best,
            seconds=round(seconds, 2),
        )
        self.log.append(ended)
        return ended

    def keep(self, best: Best) -> None:
        """Take this student for the best one, in the log too: of the best epoch or the last one."""
        if best.epoch != self.best.epoch:
            self.log[-1] = structs.replace(self.log[-1], best_so_far=True)
        self.best = best

    def prefers_last(self, validation: Validation) -> bool:
        """Return whether the student as it is, of the last epoch, is kept and not the best one.

        It is, unless the best one is clearly better: of many epochs one is best on a few images by
        chance, while the learning rate was still high. A training that was stopped early has not
        come down to a low rate, and keeps its best epoch.
        """
        if not self.has_ended or self.method.quality != "similarity":
            return False
        last = self.student_state()
        of_last = validation.answers(self.student.eval())
        self.student.load_state_dict(self.best.state)
        of_best = validation.answers(self.student)
        self.student.load_state_dict(last)
        return not validation.follows_better(of_best, of_last)

    def student_state(self) -> dict[str, Tensor]:
        """Return a copy of the student's weights, on the CPU."""
        state = self.student.state_dict()
        return {key: value.detach().cpu().clone() for key, value in state.items()}

    def summary(self) -> dict[str, object]:
        """Return what was done, for the report."""
        teacher, map_shape = self.data.teacher, self.encoder.map_shape or ()
        rows = evenly(len(self.data.validation), MAX_IMAGES)
        validation = Features(torch.from_numpy(self.data.validation_features[rows]), None)
        return {
            "images": len(self.data.train),
            "views": self.schedule.views,
            "batch": self.schedule.batch,
            "steps": self.done,
            "teacher": None if teacher is None else teacher.kind,
            "token_maps": list(map_shape)[:2] if self.forward.with_maps else None,
            **({"processes": self.group.size} if self.group.size > 1 else {}),
            **({"mixed_views": len(mixed)} if (mixed := self.data.augment.mixed) else {}),
            **self.method.summary(self.spec, validation, self.centring),
        }

    def teacher_features(self, jobs: Sequence[ViewId], pixels: Sequence[Tensor]) -> Features:
        """Return the teacher's centred features of some views; [B, 0] without a teacher."""
        if self.data.teacher is None:
            return Features(torch.empty(len(jobs), 0), None)
        features = self.data.teacher.features(jobs, pixels).to(self.compute.device)
        return self.centring.apply(features)

    def _backward(self, loss: Tensor) -> None:
        """Add to the gradients: their mean over the processes is that of the sum of the losses."""
        self.scaler.scale(loss * self.group.size).backward()  # type: ignore[no-untyped-call]

    def _exchanging(self, *, last: bool) -> AbstractContextManager[None]:
        """Let the processes exchange gradients after the last part of a batch only."""
        alone = last or self.group.size == 1
        return nullcontext() if alone else self.replicated.no_sync()
