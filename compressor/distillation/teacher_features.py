"""The teacher's features of the fixed seeded views: read from shards, or made as they are needed.

A shard is one `.npy` with a record for each of up to 4,096 images in one view: the pooled features
in float32 and, where maps are kept, the map on the student's grid in float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compressor.data.augmentation import PLAIN
from compressor.data.image_store import new_shard
from compressor.data.loading import Compute, ViewId, Views, in_batches, load_batches, to_input
from compressor.models.encoder import Encoder
from compressor.models.features import Features, Grid, resample
from compressor.models.precision import autocast
from runtime.errors import InputError
from runtime.files import replacing
from runtime.images.preprocess import Preprocess
from runtime.progress import Track, silent
from runtime.sampling import evenly

SHARD_IMAGES = 4096
"""Images in a shard: what a killed run asks the teacher again at most."""
SAMPLE_POOLED = 20_000
"""Views whose pooled features a mean, a PCA or a head is made from, at most."""
SAMPLE_MAPS = 1_000
"""Views whose maps they are made from, at most."""


@dataclass(frozen=True)
class Reader:
    """The teacher at work: where, in which precision, and on which grid its maps are wanted."""

    teacher: Encoder
    compute: Compute
    precision: torch.dtype | None
    """Of autocast; None for float32."""
    grid: Grid | None
    """The student's grid; None leaves the maps out."""

    def read(self, pixels: Tensor) -> Features:
        """uint8 [B, S, S, 3] -> float32 features, maps on the grid.

        Raises:
            InputError: pooled features are not finite.
        """
        device = self.compute.device
        module = self.teacher.module.eval().to(device)
        images = to_input(pixels, self.teacher.preprocess, device)
        with (
            torch.no_grad(),  # not inference_mode, whose tensors could stand in no loss
            autocast(self.precision, self.compute),
        ):
            found = module.features(images)
        found = found.float()
        require_finite(found.pooled, self.precision or torch.float32)
        if self.grid is None or found.maps is None:
            return Features(found.pooled, None)
        require_finite(found.maps, self.precision or torch.float32)
        return Features(found.pooled, resample(found.maps, self.grid))

    def record(self) -> np.dtype[np.void]:
        """What a shard holds of one view."""
        fields: list[tuple[str, type, tuple[int, ...]]]
        fields = [("pooled", np.float32, (self.teacher.dim,))]
        if self.grid is not None:
            fields.append(("maps", np.float16, (*self.grid, self.teacher.dim)))
        return np.dtype(fields)


def write_shard(
    path: Path, reader: Reader, dataset: Views, number: int, start: int, *, track: Track = silent
) -> None:
    """Write view `number` of the images from row `start` on, whole or not at all.

    Raises:
        InputError: an image cannot be read any more, or a feature is not finite in float16.
    """
    rows = range(start, min(start + SHARD_IMAGES, len(dataset.paths)))
    jobs = [(row, number) for row in rows]
    batches = in_batches(jobs)
    loaded = load_batches(dataset, batches, reader.compute.workers)
    what = "images" if number == PLAIN else f"view {number + 1}"
    tracked = track(loaded, label=f"teacher on {what}", total=len(batches))
    with replacing(path) as temporary:
        shard = new_shard(temporary, reader.record(), len(jobs))
        for batch, (pixels,) in zip(batches, tracked, strict=True):
            found = reader.read(pixels)
            part = shard[batch[0][0] - start :][: len(batch)]
            part["pooled"] = found.pooled.cpu().numpy()
            if found.maps is not None:
                half = found.maps.half()
                require_finite(half, torch.float16)
                part["maps"] = half.cpu().numpy()
        shard.flush()


def shard_name(number: int, start: int) -> str:
    """File of view `number` of the images from row `start` on."""
    return f"view{number:03d}-{start:07d}.npy"


def pooled_of(shards: Sequence[Path]) -> npt.NDArray[np.float32]:
    """The pooled features in the shards of one view: [N, Dt]."""
    return np.concatenate([np.load(path, mmap_mode="r")["pooled"] for path in shards])


@dataclass(frozen=True)
class CachedFeatures:
    """Features in finished shards, memory-mapped."""

    folder: Path
    views: int
    images: int

    inputs: tuple[Preprocess, ...] = ()
    """What a step must render for the teacher: nothing."""

    @property
    def dim(self) -> int:
        """Dt."""
        return int(self._shards[0][0].dtype["pooled"].shape[0])

    def of(self, jobs: Sequence[ViewId], shown: Sequence[Tensor]) -> Features:
        """Of a batch of (row, view); what the views look like is not asked."""
        records = np.stack([self._record(row, view) for row, view in jobs])
        return Features(torch.from_numpy(records["pooled"].copy()), _maps(records))

    def sample(self) -> Features:
        """What a mean, a PCA or a head is made from, evenly over all; maps of the first of them."""
        with_maps = self._some(SAMPLE_MAPS)
        jobs = dict.fromkeys([*with_maps, *self._some(SAMPLE_POOLED)])  # each once, in this order
        pooled = np.stack([self._record(*job)["pooled"] for job in jobs])
        few = np.stack([self._record(*job) for job in with_maps])
        return Features(torch.from_numpy(pooled), _maps(few))

    def _some(self, count: int) -> list[ViewId]:
        chosen = evenly(self.views * self.images, count)
        return [(int(at % self.images), int(at // self.images)) for at in chosen]

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
    """No shards: the teacher looks at every view when the student does."""

    reader: Reader
    dataset: Views
    """The training images, shown to the teacher alone."""

    @property
    def inputs(self) -> tuple[Preprocess, ...]:
        """A step must render each view at the teacher's size too."""
        return (self.reader.teacher.preprocess,)

    @property
    def dim(self) -> int:
        """Dt."""
        return self.reader.teacher.dim

    def of(self, jobs: Sequence[ViewId], shown: Sequence[Tensor]) -> Features:
        """Of a batch of views, which `shown` holds at the teacher's size."""
        return self.reader.read(shown[0])

    def sample(self) -> Features:
        """What a mean, a PCA or a head is made from: the first cut of some of the images."""
        rows = evenly(len(self.dataset.paths), SAMPLE_MAPS)
        jobs = [(int(row), PLAIN + 1) for row in rows]
        loaded = load_batches(self.dataset, in_batches(jobs), self.reader.compute.workers)
        found = [self.reader.read(pixels) for (pixels,) in loaded]
        pooled = torch.cat([each.pooled.cpu() for each in found])
        maps = [each.maps.cpu() for each in found if each.maps is not None]
        return Features(pooled, torch.cat(maps) if maps else None)


Teaching = CachedFeatures | OnlineFeatures
"""Where a training step finds what the teacher says of its views."""


def _maps(records: npt.NDArray[np.void]) -> Tensor | None:
    if "maps" not in (records.dtype.names or ()):
        return None
    return torch.from_numpy(records["maps"].astype(np.float32))


def require_finite(features: Tensor, computed_in: torch.dtype) -> None:
    """Refuse a teacher's features that are infinite or no numbers.

    Raises:
        InputError: so some are; says what may be the cause.
    """
    if lost := int((~features.isfinite()).sum()):
        kind = str(computed_in).removeprefix("torch.")
        raise InputError(
            f"teacher: {lost} of {features.numel()} features are not finite in {kind}. float16 "
            "ends at 65,504: try distill.teacher_precision: fp32, and if only the maps are "
            "beyond it, distill.token_maps: off. Else, are the weights damaged?"
        )
