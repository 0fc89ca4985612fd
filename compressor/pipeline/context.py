"""One run: its plan, its folder, and what its stages read from each other."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from compressor.data import dataset
from compressor.data.dataset import ImageSet
from compressor.data.image_files import files_below
from compressor.events import Observer, Reporter, ignore
from compressor.pipeline.cache import Cache
from compressor.recipe.networks import Network
from compressor.recipe.plan import Plan
from runtime.errors import InputError
from runtime.files import read_json, sha256_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from compressor.distillation.disk_budget import DiskPlan
    from compressor.models.compute import Compute
    from compressor.models.encoder import Encoder

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What a stage is given."""

    plan: Plan
    folder: Path
    observer: Observer = ignore
    """Receives every event of the run."""

    @cached_property
    def reporter(self) -> Reporter:
        """What sends this run's events."""
        return Reporter(self.observer)

    def note(self, text: str) -> None:
        """Send a line for people."""
        self.reporter.note(text)

    def warn(self, text: str) -> None:
        """Send a warning for people."""
        self.reporter.warn(text)

    def track(self, items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
        """Yield every item, and report the progress; see `runtime.progress.Track`."""
        return self.reporter.track(items, label=label, total=total)

    @property
    def root(self) -> Path:
        """The images folder."""
        return self.plan.recipe.data.images

    def images(self) -> ImageSet:
        """The usable images, as the first stage left them."""
        return self._loaded()[0]

    def counts(self) -> dict[str, int]:
        """How many images of each kind."""
        return self._loaded()[1]

    def _loaded(self) -> tuple[ImageSet, dict[str, int]]:
        """Read again only when the first stage has written it anew: it is large for large sets."""
        path = self.folder / "dataset.json"
        written = path.stat().st_mtime_ns if path.exists() else 0
        return _load_images(self.folder, self.root, written)

    def ood_paths(self) -> list[Path]:
        """Usable out-of-distribution images, as the first stage left them."""
        return [self.root / name for name in self.ood_ids()]

    def ood_ids(self) -> list[str]:
        """Their paths relative to the images folder."""
        listed = read_json(self.folder / "dataset.json")["ood_images"]
        return [each["id"] for each in listed]

    def pixels_digest(self) -> str:
        """Of the pixels and order of all images: what embeddings depend on."""
        document = read_json(self.folder / "dataset.json")
        keys = [(each["id"], each["pixels_sha256"]) for each in document["images"]]
        return digest([keys, document["ood_images"]])

    @cached_property
    def teacher(self) -> Encoder:
        """The recipe's teacher, loaded once."""
        from compressor.models.encoder import load_teacher

        return load_teacher(self.plan.recipe.teacher)

    @cached_property
    def untrained_student(self) -> Encoder:
        """The recipe's student before distillation; for its shapes, never trained."""
        from compressor.models.encoder import create_student

        recipe = self.plan.recipe
        return create_student(recipe.student, seed=recipe.distill.seed)

    @cached_property
    def disk_plan(self) -> DiskPlan:
        """What is kept on disk of the teacher's features, the decoded images and the views."""
        from compressor.distillation.disk_budget import plan_disk

        train = self.images().part("train")
        return plan_disk(self.plan.recipe.distill, train, self.teacher, self.untrained_student)

    @cached_property
    def cache(self) -> Cache:
        """The folder that runs share."""
        return Cache.from_environment()

    def once(self, key: Any, path: Path, make: Callable[[Path], None]) -> None:
        """Make a file, unless it is there, or the shared cache holds one with the same key.

        Args:
            key: JSON values of everything that decides the file's bytes.
            path: where it is wanted.
            make: writes it to the path it is given, whole or not at all.
        """
        name = digest(key)
        if path.exists():
            return
        if self.cache.fetch(name, path):
            self.note(f"{path.name}: made by an earlier run, from the cache")
            return
        make(path)
        self.cache.keep(name, path)

    def compute(self) -> Compute:
        """Where networks run; this process is set for them."""
        from compressor.models.compute import Compute, keep_freed_memory

        keep_freed_memory()
        distill = self.plan.recipe.distill
        return Compute.choose(distill.device, distill.workers)

    def tensors(self, name: str) -> dict[str, npt.NDArray[np.float32]]:
        """Arrays of a `.safetensors` of this run."""
        from safetensors.numpy import load_file

        arrays: dict[str, npt.NDArray[np.float32]] = load_file(self.folder / name)
        return arrays

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of this folder.

        The lock is the process's own: reader processes that outlive a kill do not hold it.

        Raises:
            InputError: another run is at work here, or the folder holds something else.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()) and not (self.folder / ".lock").exists():
            raise InputError(
                f"{self.folder}: holds other files, which a run could overwrite.\n"
                "  Name a new folder with --out."
            )
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                raise InputError(
                    f"{self.folder}: another run is at work in this folder.\n"
                    "  Wait for it, or choose another folder with --out."
                ) from error
            for folder in (self.folder, self.folder / ".stages"):
                for left_by_a_kill in folder.glob(".*.tmp"):
                    left_by_a_kill.unlink()
            yield


@lru_cache(maxsize=1)
def _load_images(folder: Path, root: Path, written: int) -> tuple[ImageSet, dict[str, int]]:
    return dataset.load(folder, root)


def digest(document: Any) -> str:
    """Hex sha256 of JSON values."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def listing_digest(run: Run) -> str:
    """Of the names, sizes and times of all files that the first stage would look at."""
    data = run.plan.recipe.data
    folders = [each for each in (data.images, data.holdout, data.ood) if isinstance(each, Path)]
    found = []
    for folder in folders:
        for path in files_below(folder, [run.folder.resolve()]):
            name = os.path.relpath(path, data.images)
            try:
                status = path.stat()
                found.append([name, status.st_size, status.st_mtime_ns])
            except OSError:  # a dangling link: the audit will name it
                found.append([name, -1, 0])
    return digest(sorted(found))


def network_digest(network: Network) -> str:
    """Of everything that decides a network before training: its keys and its weights' bytes."""
    document = network.model_dump(mode="json")
    if network.weights not in ("hub", "none"):
        document["weights"] = sha256_of(Path(network.weights))
    return digest(document)
