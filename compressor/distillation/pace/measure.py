"""Measures the rates: the parts of a training as they really run, each for a second or two.

Only the teacher's features are stand-ins, where a training step needs more of them than were
computed: what is in them changes no time.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compressor.data import image_store
from compressor.data.audit import FEWEST_IN_TRAINING
from compressor.data.augmentation import PLAIN
from compressor.data.dataset import ImageSet
from compressor.data.image_store import ImageStore
from compressor.data.loading import (
    BATCH,
    Augmentation,
    Dataset,
    ViewId,
    Views,
    load_batches,
)
from compressor.data.view_cache import ViewCache
from compressor.distillation.disk_budget import DiskPlan, plan_disk
from compressor.distillation.least_squares.normal_equations import FOLDS, NormalEquations
from compressor.distillation.least_squares.ridge import USUAL_TRIES, left_out_error, scales_of
from compressor.distillation.pace.disk import write_seconds
from compressor.distillation.pace.known_features import KnownFeatures
from compressor.distillation.pace.rates import Rates
from compressor.distillation.teacher_features import OnlineFeatures, TeacherRunner
from compressor.distillation.training import Training
from compressor.distillation.training_data import TrainingData
from compressor.models.compute import Compute, teacher_dtype
from compressor.models.encoder import Encoder
from compressor.models.features import Features, joined
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from runtime.sampling import evenly

SAMPLE = 64
"""Images that rates are measured on."""
AT_LEAST_S = 1.0
"""A part is timed for so many seconds, and at least for one batch, after one to warm up."""
_VALIDATED = 32  # images
_TEACHER_BATCH_ON_CPU = 16  # as fast there as 64, and a large teacher is not waited for
_NUMBERS = (PLAIN, 1)  # an image as it is, and the first other view, which is mixed if any is


@dataclass(frozen=True)
class Pair:
    """What is measured: the networks of a run, and where they run."""

    teacher: Encoder
    student: Encoder
    """Before training; a copy of it is trained."""
    compute: Compute


def sample_of(images: ImageSet) -> ImageSet:
    """Return a few images of a set, evenly over it."""
    return replace(images, records=tuple(images.records[at] for at in evenly(len(images), SAMPLE)))


def measure(
    sample: ImageSet, images: ImageSet, pair: Pair, spec: Distill, folder: Path | None = None
) -> Rates:
    """Measure how fast the parts of a training are.

    Args:
        sample: some of the images, with the true digests of their pixels.
        images: all to train on; their sizes decide what is kept on the disk.
        pair: teacher and student.
        spec: the recipe's `distill:` with its defaults settled.
        folder: on the disk where features and images will be kept, which is timed; None: the
            system's for temporary files.

    Raises:
        InputError: there are too few images to train on; an image can no longer be read, or a
            feature or a loss is not finite.
        MissingDependencyError: the chosen precision does not run here.
    """
    if len(images) < FEWEST_IN_TRAINING:
        raise InputError(
            f"{images.root}: {len(images)} images are too few to train on, "
            f"{FEWEST_IN_TRAINING} are needed; add images, or lower distill.validation or "
            "data.holdout"
        )
    plan, batch = plan_disk(spec, images, pair.teacher, pair.student), spec.batch_for(len(images))
    with tempfile.TemporaryDirectory(dir=folder) as work, torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return _Measurement(sample, pair, spec, plan, batch, Path(work)).rates()


@dataclass
class _Measurement:
    sample: ImageSet
    pair: Pair
    spec: Distill
    plan: DiskPlan
    batch: int
    """Images of a training step."""
    work: Path
    store: ImageStore | None = None

    @cached_property
    def augment(self) -> Augmentation:
        """The views of the sample; of a training with mixed ones, half are."""
        mixes = self.spec.mix_for(pretrained=self.pair.student.has_start) > 0
        mixed = frozenset({_NUMBERS[-1]} if mixes else ())
        return Augmentation(
            self.spec.seed, self.spec.crops, self.plan.side_px, mixed, self.plan.packing
        )

    def rates(self) -> Rates:
        decode_s = self._decode()
        teacher_s, known = self._teacher()
        validation = replace(self.sample, records=self.sample.records[:_VALIDATED])
        data = TrainingData(
            train=self.sample,
            augment=self.augment,
            store=self.store,
            keep_views=False,
            teacher=KnownFeatures(known) if METHODS[self.spec.method].needs_teacher else None,
            validation=validation,
            validation_features=np.resize(
                known.pooled.numpy(), (len(validation), self.pair.teacher.dim)
            ),
        )
        student = self.pair.student
        copied = replace(student, module=copy.deepcopy(student.module))
        training = Training(copied, data, self.spec, self.pair.compute, lambda line: None)
        student_s = self._student(training)
        cutting_s, kept_s = self._steps(training)
        online_s = self._online_step(training)
        add_s, solve_s = self._start(training.student.embedding)
        start_view_s = student_s + cutting_s - kept_s + add_s
        return Rates(
            decode_s=decode_s,
            teacher_s=teacher_s,
            student_s=student_s,
            step_cutting_s=cutting_s,
            step_s=kept_s,
            start_view_s=start_view_s if solve_s else 0.0,
            solve_s=solve_s,
            step_online_s=online_s,
            write_byte_s=write_seconds(self.work),
        )

    def _decode(self) -> float:
        folder = self.work / "pixels"
        folder.mkdir()
        begun, count, packing = time.perf_counter(), len(self.sample), self.plan.packing
        path = folder / image_store.shard_name(0, packing)
        image_store.write_shard(path, self.sample, 0, self.plan.side_px, packing=packing)
        seconds = time.perf_counter() - begun
        if self.plan.keep_images:
            self.store = ImageStore(folder, count, packing)
        return seconds / count

    def _teacher(self) -> tuple[float, Features]:
        runner, views = self._teacher_runner(), self._teacher_views()
        found = list[Features]()

        def run(jobs: Sequence[ViewId], batch: tuple[Tensor, ...]) -> None:
            features = runner.run(batch[0])
            maps = None if features.maps is None else features.maps.cpu()
            found.append(Features(features.pooled.cpu(), maps))

        on_cpu = self.pair.compute.device.type == "cpu"
        seconds = self._timed(views, _TEACHER_BATCH_ON_CPU if on_cpu else BATCH, run)
        return seconds, joined(found)

    def _teacher_runner(self) -> TeacherRunner:
        teacher, compute = self.pair.teacher, self.pair.compute
        wanted, transformer = self.spec.teacher_precision, teacher.is_transformer
        precision = teacher_dtype(wanted, compute, transformer=transformer)
        return TeacherRunner(teacher, compute, precision, self.plan.grid)

    def _teacher_views(self) -> Views:
        return Views(self.sample, self.augment, (self.pair.teacher.preprocess,), self.store)

    def _student(self, training: Training) -> float:
        validation = training.validation()
        validation.measure(training.student)
        begun, times = time.perf_counter(), 0
        while not times or time.perf_counter() - begun < AT_LEAST_S / 2:
            validation.measure(training.student)
            times += 1
        return (time.perf_counter() - begun) / times / len(validation.pixels)

    def _start(self, layer: nn.Module) -> tuple[float, float]:
        """Return seconds to add a view to the sums, and to solve them; 0 where there is no start.

        Of random numbers: what a network gives for an image is timed elsewhere.
        """
        if not self.pair.student.has_start or not isinstance(layer, nn.Linear):
            return 0.0, 0.0
        device = self.pair.compute.device
        equations = NormalEquations(layer.in_features, layer.out_features, device)
        inputs = torch.randn(BATCH, layer.in_features, device=device)
        outputs = torch.randn(BATCH, layer.out_features, device=device)
        begun = time.perf_counter()
        equations.add(inputs, outputs, torch.arange(BATCH))
        add_s = (time.perf_counter() - begun) / BATCH
        begun, left = time.perf_counter(), equations.folds[0]
        learnt = equations.total() - left
        left_out_error(learnt, left, scales_of(learnt, [layer.in_features]), 1.0).item()
        return add_s, (time.perf_counter() - begun) * (1 + FOLDS * USUAL_TRIES)

    def _steps(self, training: Training) -> tuple[float, float]:
        """Return seconds of a view that is cut for its step, and of one that was cut before."""

        def step(jobs: Sequence[ViewId], batch: tuple[Tensor, ...]) -> None:
            training.step([*jobs], batch)

        views = training.data.views(training.encoder)
        cutting_s = self._timed(views, self.batch, step)
        kept = ViewCache(views, len(_NUMBERS), self.work)
        for row in range(len(self.sample)):
            for number in _NUMBERS:
                _ = kept[row, number]
        kept_s = self._timed(kept, self.batch, step, warm=True)
        return cutting_s, min(kept_s, cutting_s)

    def _online_step(self, training: Training) -> float:
        """Return seconds of a view in a step that runs the teacher; 0 where none may."""
        if not METHODS[self.spec.method].needs_teacher:
            return 0.0
        if self.spec.teacher == "cached" and self.plan.features == "cached":
            return 0.0
        online = OnlineFeatures(self._teacher_runner(), self._teacher_views())
        training.data = replace(training.data, teacher=online)
        on_cpu = self.pair.compute.device.type == "cpu"
        size = min(self.batch, _TEACHER_BATCH_ON_CPU) if on_cpu else self.batch

        def step(jobs: Sequence[ViewId], batch: tuple[Tensor, ...]) -> None:
            training.step([*jobs], batch)

        return self._timed(training.data.views(training.encoder), size, step)

    def _timed(
        self,
        dataset: Dataset[ViewId],
        size: int,
        work: Callable[[Sequence[ViewId], tuple[Tensor, ...]], None],
        *,
        warm: bool = False,
    ) -> float:
        """Return seconds an item, the threads that load it at work beside the network.

        Args:
            dataset: of the items.
            size: of a batch.
            work: what is done with a batch.
            warm: whether it was done before.
        """
        batches = _batches(len(self.sample), size)
        jobs = _batches(len(self.sample), size)
        with closing(load_batches(dataset, batches, self.pair.compute.workers)) as loaded:
            if not warm:
                work(next(jobs), next(loaded))
            begun, done = time.perf_counter(), 0
            while not done or time.perf_counter() - begun < AT_LEAST_S:
                work(next(jobs), next(loaded))
                done += 1
        return (time.perf_counter() - begun) / done / size


def _batches(images: int, size: int) -> Iterator[list[ViewId]]:
    """Yield batches for ever: the images in a fixed random order, each in its views."""
    order = np.random.default_rng(0).permutation(images * len(_NUMBERS))
    items = cycle([(int(at) % images, _NUMBERS[int(at) // images]) for at in order])
    while True:
        yield [next(items) for _ in range(size)]
