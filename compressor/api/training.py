"""One training in a temporary folder, from decoded images to the best student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from compressor.data import image_store
from compressor.data.augmentation import PLAIN
from compressor.data.dataset import ImageSet
from compressor.data.image_store import ImageStore
from compressor.data.loading import Augmentation, Views
from compressor.distillation import trainer
from compressor.distillation.disk_budget import plan_disk
from compressor.distillation.pace import budget, measure
from compressor.distillation.pace.budget import Settled
from compressor.distillation.pace.cost import Counts
from compressor.distillation.start.closed_form import solve_start
from compressor.distillation.teacher_features import (
    SHARD_IMAGES,
    CachedFeatures,
    FeatureSource,
    OnlineFeatures,
    TeacherRunner,
    shard_name,
    write_shard,
)
from compressor.distillation.training_data import TrainingData
from compressor.events import Observer, Reporter
from compressor.models.compute import Compute, teacher_dtype
from compressor.models.embed import embed
from compressor.models.encoder import Encoder
from compressor.models.features import Grid
from compressor.pipeline.storage.room import Room, free_bytes
from compressor.recipe.schema import Distill
from runtime.arrays import Floats


class Training:
    """Prepares what the steps of a run prepare (pixels, features, validation), then trains."""

    def __init__(
        self, images: ImageSet, teacher: Encoder, student: Encoder, spec: Distill, work: Path
    ) -> None:
        self.train, self.validation = images.part("train"), images.part("validation")
        self.teacher, self.student, self.work = teacher, student, work
        self.compute = Compute.choose(spec.device, spec.workers)
        on_gpu = self.compute.device.type == "cuda"
        spec = spec.settled(from_weights=student.has_start, on_gpu=on_gpu)
        if spec.disk_gb is None:
            free = free_bytes(work)
            spec = spec.model_copy(update={"disk_gb": Room(work, free, kept=0).disk_gb})
        self.time: Settled | None = None
        """What fits `distill.minutes`, if the settings have it."""
        if spec.minutes is not None:
            self.time = self._fitted(spec)
            spec = self.time.spec
        self.spec = spec
        self.plan = plan_disk(spec, self.train, teacher, student)
        mixed = spec.mixed_views(len(self.train), pretrained=student.has_start)
        self.augmentation = Augmentation(
            spec.seed, spec.crops, self.plan.side_px, mixed, self.plan.packing
        )

    def run(self, observer: Observer) -> dict[str, Tensor]:
        """Train, and return the state of the student that is kept, on the CPU."""
        self.track = (reporter := Reporter(observer)).track
        if self.time is not None:
            reporter.note(self.time.why)
        store = self._store()
        data = TrainingData(
            train=self.train,
            augment=self.augmentation,
            store=store,
            keep_views=self.plan.keep_views,
            teacher=self._features(store),
            validation=self.validation,
            validation_features=self._embed_validation(),
        )
        folder = self.work / "training"
        folder.mkdir()
        start = None
        if self.student.has_start:
            start, _ = solve_start(
                self.student,
                data,
                self.spec,
                self.compute,
                teacher=self._runner(None),
                track=self.track,
                note=reporter.note,
            )
        return trainer.distill(
            self.student,
            data,
            self.spec,
            self.compute,
            folder,
            start=start,
            track=self.track,
            note=reporter.note,
            on_epoch=observer,
        )

    def _fitted(self, spec: Distill) -> Settled:
        pair = measure.Pair(self.teacher, self.student, self.compute)
        rates = measure.measure(measure.sample_of(self.train), self.train, pair, spec, self.work)
        counts = Counts(train=len(self.train), validation=len(self.validation))
        return budget.settle(spec, budget.Measured(self.train, counts, pair, rates))

    def _embed_validation(self) -> Floats:
        label, track = "teacher on validation images", self.track
        return embed(self.teacher, self.validation.paths, self.compute, label=label, track=track)

    def _store(self) -> ImageStore | None:
        if not self.plan.keep_images:
            return None
        folder, packing = self.work / "pixels", self.plan.packing
        folder.mkdir()
        for start in range(0, len(self.train), image_store.SHARD_IMAGES):
            image_store.write_shard(
                folder / image_store.shard_name(start, packing),
                self.train,
                start,
                self.plan.side_px,
                packing=packing,
                track=self.track,
            )
        return ImageStore(folder, len(self.train), packing)

    def _features(self, store: ImageStore | None) -> FeatureSource | None:
        if self.plan.features == "none":
            return None
        runner = self._runner(self.plan.grid)
        inputs = (self.teacher.preprocess,)
        views = Views(self.train, self.augmentation, inputs, store)
        if self.plan.features == "online":
            return OnlineFeatures(runner, views)
        whole = Views(
            self.train, replace(self.augmentation, side_px=1 << 30, packing="raw"), inputs
        )
        folder, count = self.work / "features", self.spec.views_for(len(self.train))
        folder.mkdir()
        for number in range(count):
            for start in range(0, len(self.train), SHARD_IMAGES):
                write_shard(
                    folder / shard_name(number, start),
                    runner,
                    whole if number == PLAIN else views,
                    number,
                    start,
                    track=self.track,
                )
        return CachedFeatures(folder, count, len(self.train), self.augmentation.mixed)

    def _runner(self, grid: Grid | None) -> TeacherRunner:
        transformer = self.teacher.is_transformer
        precision = teacher_dtype(
            self.spec.teacher_precision, self.compute, transformer=transformer
        )
        return TeacherRunner(self.teacher, self.compute, precision, grid)
