"""The teacher's features of the fixed seeded views: read from shards, or computed at every step.

A shard is one `.npy` with a record for each of up to 4,096 images in one view: the pooled features
in float32 and, where maps are kept, the map on the student's grid in float16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compressor.data.augmentation import PLAIN, first_unmixed
from compressor.data.image_store import new_shard
from compressor.data.loading import ViewId, Views, in_batches, load_batches, to_input
from compressor.models.compute import SMALLER_IMAGES, Compute, autocast, within_memory
from compressor.models.encoder import Encoder
from compressor.models.features import Features, Grid, joined, resample
from runtime.errors import InputError
from runtime.files import replacing
from runtime.images.preprocess import Preprocess
from runtime.progress import Track, silent
from runtime.sampling import evenly

SHARD_IMAGES = 4096
"""Images in a shard: the most that a killed run computes again."""
SAMPLE_POOLED = 20_000
"""Most views whose pooled features a mean, a PCA or a head is made from."""
SAMPLE_MAPS = 1_000
"""Most views whose maps they are made from."""


@dataclass(frozen=True)
class TeacherRunner:
    """Runs the teacher on pixels, with its precision and the grid of its maps."""

    teacher: Encoder
    compute: Compute
    precision: torch.dtype | None
    """Of autocast; None for float32."""
    grid: Grid | None
    """The student's grid; None leaves the maps out."""

    def run(self, pixels: Tensor) -> Features:
        """uint8 [B, S, S, 3] -> float32 features, maps on the grid.

        Raises:
            InputError: pooled features are not finite.
            MissingDependencyError: the GPU's memory is full.
        """
        device = self.compute.device
        module = self.teacher.module.eval().to(device)
        images = to_input(pixels, self.teacher.preprocess, device)
        with (
            within_memory(len(pixels), SMALLER_IMAGES),
            torch.no_grad(),  # not inference_mode, whose tensors could stand in no loss
            autocast(self.precision, self.compute),
        ):
            features = module.features(images)
        features = features.float()
        require_finite(features.pooled, self.precision or torch.float32)
        if self.grid is None or features.maps is None:
            return Features(features.pooled, None)
        require_finite(features.maps, self.precision or torch.float32)
        return Features(features.pooled, resample(features.maps, self.grid))

    def record(self) -> np.dtype[np.void]:
        """Return the type of a record: one view of one image."""
        fields: list[tuple[str, type, tuple[int, ...]]]
        fields = [("pooled", np.float32, (self.teacher.dim,))]
        if self.grid is not None:
            fields.append(("maps", np.float16, (*self.grid, self.teacher.dim)))
        return np.dtype(fields)


def write_shard(
    path: Path,
    runner: TeacherRunner,
    dataset: Views,
    number: int,
    start: int,
    *,
    track: Track = silent,
) -> None:
    """Write view `number` of the images from row `start` on, whole or not at all.

    Several processes run the teacher on a part of the batches each; the first of them writes.

    Raises:
        InputError: an image cannot be read any more, or a feature is not finite in float16.
    """
    rows = range(start, min(start + SHARD_IMAGES, len(dataset.paths)))
    jobs = [(row, number) for row in rows]
    batches, group = in_batches(jobs), runner.compute.group
    loaded = load_batches(
        dataset, group.dealt(batches), runner.compute.workers, pinned=runner.compute.on_gpu
    )
    records = group.streamed(_records(runner, loaded), len(batches))
    if not group.is_first:
        for _ in records:
            raise AssertionError("only the first process writes")
        return
    what = "images" if number == PLAIN else f"view {number + 1}"
    tracked = track(records, label=f"teacher on {what}", total=len(batches))
    with replacing(path) as temporary:
        shard = new_shard(temporary, runner.record(), len(jobs))
        for batch, record in zip(batches, tracked, strict=True):
            shard[batch[0][0] - start :][: len(batch)] = record
        shard.flush()


def _records(
    runner: TeacherRunner, loaded: Iterable[tuple[Tensor, ...]]
) -> Iterator[npt.NDArray[np.void]]:
    """Yield the records of each batch of pixels."""
    for (pixels,) in loaded:
        features = runner.run(pixels)
        records = np.empty(len(pixels), runner.record())
        records["pooled"] = features.pooled.cpu().numpy()
        if features.maps is not None:
            half = features.maps.half()
            require_finite(half, torch.float16)
            records["maps"] = half.cpu().numpy()
        yield records


def shard_name(number: int, start: int) -> str:
    """Return the file name of view `number` of the images from row `start` on."""
    return f"view{number:03d}-{start:07d}.npy"


def pooled_of(shards: Sequence[Path]) -> npt.NDArray[np.float32]:
    """Read the pooled features in the shards of one view: [N, Dt]."""
    return np.concatenate([np.load(path, mmap_mode="r")["pooled"] for path in shards])


class FeatureSource(Protocol):
    """Where a training step gets the teacher's features of its views."""

    @property
    def kind(self) -> str:
        """Its name in the report."""
        ...

    @property
    def inputs(self) -> tuple[Preprocess, ...]:
        """The inputs that a step must prepare for the teacher: one, or none."""
        ...

    def features(self, jobs: Sequence[ViewId], pixels: Sequence[Tensor]) -> Features:
        """Return the features of a batch of (row, view); `pixels` has one tensor an input."""
        ...

    def sample(self) -> Features:
        """Return features to make a mean, a PCA or a head from; maps of the first of them."""
        ...


@dataclass(frozen=True)
class CachedFeatures:
    """Features in finished shards, memory-mapped."""

    folder: Path
    views: int
    images: int
    mixed: frozenset[int] = frozenset()
    """Numbers of the views that are mixed."""

    kind: ClassVar[str] = "cached"
    inputs: ClassVar[tuple[Preprocess, ...]] = ()

    def features(self, jobs: Sequence[ViewId], pixels: Sequence[Tensor]) -> Features:
        """Read the features of a batch of (row, view); pixels are not needed."""
        records = np.stack([self._record(row, view) for row, view in jobs])
        return Features(torch.from_numpy(records["pooled"].copy()), _maps(records))

    def sample(self) -> Features:
        """Return features evenly over all images and unmixed views; maps of some of them."""
        with_maps = self._some(SAMPLE_MAPS)
        jobs = dict.fromkeys([*with_maps, *self._some(SAMPLE_POOLED)])  # each once, in this order
        pooled = np.stack([self._record(*job)["pooled"] for job in jobs])
        few = np.stack([self._record(*job) for job in with_maps])
        return Features(torch.from_numpy(pooled), _maps(few))

    def _some(self, most: int) -> list[ViewId]:
        views = [number for number in range(self.views) if number not in self.mixed]
        chosen = evenly(len(views) * self.images, most)
        return [(int(at % self.images), views[at // self.images]) for at in chosen]

    def _record(self, row: int, view: int) -> npt.NDArray[np.void]:
        record: npt.NDArray[np.void] = self._shards[view][row // SHARD_IMAGES][row % SHARD_IMAGES]
        return record

    @cached_property
    def _shards(self) -> list[list[npt.NDArray[np.void]]]:
        starts = range(0, self.images, SHARD_IMAGES)
        return [
            [np.load(self.folder / shard_name(view, at), mmap_mode="r") for at in starts]
            for view in range(self.views)
        ]


@dataclass(frozen=True)
class OnlineFeatures:
    """No shards: the teacher runs on every view when the student does."""

    kind: ClassVar[str] = "online"

    runner: TeacherRunner
    dataset: Views
    """Views of the training images at the teacher's size alone."""

    @property
    def inputs(self) -> tuple[Preprocess, ...]:
        """Return the teacher's own input."""
        return (self.runner.teacher.preprocess,)

    def features(self, jobs: Sequence[ViewId], pixels: Sequence[Tensor]) -> Features:
        """Run the teacher on a batch of views, which `pixels` holds at the teacher's size."""
        return self.runner.run(pixels[0])

    def sample(self) -> Features:
        """Return features of the first augmented, unmixed view of some of the images."""
        rows, mixed = evenly(len(self.dataset.paths), SAMPLE_MAPS), self.dataset.augment.mixed
        number = first_unmixed(mixed)
        jobs, compute = [(int(row), number) for row in rows], self.runner.compute
        own = compute.group.dealt(in_batches(jobs))
        loaded = load_batches(self.dataset, own, compute.workers, pinned=compute.on_gpu)
        cpu = torch.device("cpu")
        seen = [self.runner.run(pixels).to(cpu) for (pixels,) in loaded]
        return joined(compute.group.collected(seen))


def _maps(records: npt.NDArray[np.void]) -> Tensor | None:
    if "maps" not in (records.dtype.names or ()):
        return None
    return torch.from_numpy(records["maps"].astype(np.float32))


def require_finite(features: Tensor, computed_in: torch.dtype) -> None:
    """Refuse a teacher's features that are infinite or not a number.

    Raises:
        InputError: some are; says what may be the cause.
    """
    if lost := int((~features.isfinite()).sum()):
        kind = str(computed_in).removeprefix("torch.")
        raise InputError(
            f"teacher: {lost} of {features.numel()} features are not finite in {kind}. float16 "
            "ends at 65,504: try distill.teacher_precision: fp32 or, if only the maps are "
            "beyond it, distill.token_maps: off. If neither helps, are the weights damaged?"
        )
