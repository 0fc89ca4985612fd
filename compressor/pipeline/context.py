"""One run: its plan, its folder, its files, and the objects that several steps need."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from compressor.data import dataset
from compressor.data.dataset import Dataset, ImageSet
from compressor.data.sources.opened import opened_all
from compressor.data.sources.source import Roots
from compressor.distributed import group as groups
from compressor.events import Observer, Reporter, ignore
from compressor.pipeline.storage.digests import FileDigests, digest
from compressor.pipeline.storage.run_files import LOCK, RunFiles, require_own
from compressor.recipe.document import Section
from compressor.recipe.networks import AUTO, WEIGHTS_WORDS, Network
from compressor.recipe.plan import Plan
from runtime.errors import InputError
from runtime.images.image_file import ImageFile, ImageRoot

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from compressor.distillation.disk_budget import DiskPlan
    from compressor.models.compute import Compute
    from compressor.models.encoder import Encoder

T = TypeVar("T")

_OF_OLD_VERSIONS = (".stages", ".work", "pixels", "features")


@dataclass
class Run:
    """A run, as its steps see it. Everything heavy is loaded when it is first used."""

    plan: Plan
    folder: Path
    observer: Observer = ignore
    """Receives every event of the run."""

    def with_sections(self, **sections: Section) -> Run:
        """Return the run in its folder with other sections of its recipe, such as `distill`."""
        recipe = self.plan.recipe.model_copy(update=sections)
        run = Run(replace(self.plan, recipe=recipe), self.folder, self.observer)
        if recipe.data == self.plan.recipe.data and "roots" in vars(self):
            run.roots = self.roots
        return run

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

    # --- files --------------------------------------------------------------------------------

    @cached_property
    def files(self) -> RunFiles:
        """What the steps of this run have made."""
        return RunFiles(self.folder)

    def file(self, name: str) -> Path:
        """Return where an output of an earlier step is."""
        return self.files.path(name)

    def outputs(self, step: str) -> dict[str, str]:
        """Return the digest of each output of an earlier step."""
        return self.files.record(step).digests()

    def tensors(self, name: str) -> dict[str, npt.NDArray[np.float32]]:
        """Return the arrays of a `.safetensors` that an earlier step has made."""
        from safetensors.numpy import load_file

        arrays: dict[str, npt.NDArray[np.float32]] = load_file(self.file(name))
        return arrays

    def shared(self, key: object, name: str, make: Callable[[Path], None]) -> Path:
        """Return a file that other recipes may use too, made if the store has none of this key.

        Args:
            key: JSON values of everything that decides the file's bytes.
            name: of the file.
            make: writes it to the path it is given, whole or not at all.
        """
        entry, made = self.files.store.make(
            digest(key), (name,), lambda work: make(work / name), self.note, verify=True
        )
        self.files.use_part(entry.key)
        if not made:
            self.note(f"{name}: made by an earlier run, from the cache")
        return entry.folder / name

    # --- images -------------------------------------------------------------------------------

    @cached_property
    def roots(self) -> Roots:
        """Where the images are; the names of those of other sources than folders are read once.

        Raises:
            InputError: a source is damaged, or cannot be reached.
        """
        return opened_all(self.plan.recipe.data)

    @property
    def root(self) -> Path | Roots:
        """Where images are found by their ids: the images folder, if there is nothing else."""
        return self.roots.root

    def images(self) -> ImageSet:
        """Return the usable images, as the first step left them."""
        return self._dataset()[0]

    def counts(self) -> dict[str, int]:
        """Return how many images of each kind there are."""
        return self._dataset()[1].counts

    def ood_ids(self) -> list[str]:
        """Return the ids of the out-of-distribution images."""
        return [image.id for image in self._dataset()[1].ood_images]

    def ood_pixels(self) -> list[tuple[str, str]]:
        """Return the name of each out-of-distribution image and the digest of its pixels."""
        return [(image.id, image.pixels_sha256) for image in self._dataset()[1].ood_images]

    def returned_ids(self) -> list[str]:
        """Return the usable images that came back from devices, in order."""
        folder = self.plan.recipe.data.returned
        if folder is None:
            return []
        begins = self.roots.begin_of_ids(folder)
        return [image.id for image in self.images().records if image.id.startswith(begins)]

    def ood_paths(self) -> list[ImageFile]:
        """Return where the usable out-of-distribution images are."""
        return [self.root / name for name in self.ood_ids()]

    def pixels_digest(self) -> str:
        """Return the digest of the pixels and the order of all images."""
        ood = [{"id": name, "pixels_sha256": sha256} for name, sha256 in self.ood_pixels()]
        return digest([[[image.id, image.pixels_sha256] for image in self.images().records], ood])

    def dataset_digest(self) -> str:
        """Return the digest of all images with their labels and splits: of what steps use."""
        found = self.images()
        records = [list(vars(image).values()) for image in found.records]
        return digest([found.classes, records, self.ood_pixels()])

    def _dataset(self) -> tuple[ImageSet, Dataset]:
        """Read dataset.json, which is large for many images, only when it has changed."""
        path = self.file("dataset.json")
        return _load_dataset(path.parent, self.root, path.stat().st_mtime_ns)

    # --- networks -----------------------------------------------------------------------------

    @cached_property
    def teacher(self) -> Encoder:
        """The recipe's teacher, loaded once."""
        from compressor.models.encoder import load_teacher

        return load_teacher(self.plan.recipe.teacher)

    @cached_property
    def initial_student(self) -> Encoder:
        """The recipe's student before distillation; for its shapes."""
        from compressor.models.encoder import create_student

        recipe = self.plan.recipe
        return create_student(recipe.student, seed=recipe.distill.seed)

    def trained_student(self) -> Encoder:
        """Return the student of the step `distill`, loaded anew."""
        from safetensors.torch import load_file

        return self.student(load_file(self.file("student.safetensors")))

    def student(self, state: Mapping[str, Tensor]) -> Encoder:
        """Return the recipe's student with these weights."""
        from compressor.models.encoder import create_student

        recipe = self.plan.recipe
        student = create_student(recipe.student, seed=recipe.distill.seed)
        student.module.load_state_dict(state)
        return student

    @cached_property
    def disk_plan(self) -> DiskPlan:
        """What is kept on disk of the teacher's features, the decoded images and the views."""
        from compressor.distillation.disk_budget import plan_disk

        train = self.images().part("train")
        return plan_disk(self.plan.recipe.distill, train, self.teacher, self.initial_student)

    def compute(self) -> Compute:
        """Return where networks run; this process is set for them."""
        from compressor.models.compute import Compute, keep_freed_memory

        keep_freed_memory()
        distill = self.plan.recipe.distill
        return Compute.choose(distill.device, distill.workers)

    def shared_compute(self) -> Compute:
        """Return this process's share, in work that all processes of the run were called to."""
        return self.compute().over(groups.current())

    def device_type(self) -> str:
        """Return the kind of device that networks run on here: cpu or cuda."""
        wanted = self.plan.recipe.distill.device
        if wanted != "auto":
            return wanted
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def _file_digests(self) -> FileDigests:
        return FileDigests(self.files.store.folder / "digests.json")

    def network_digest(self, network: Network) -> str:
        """Return the digest of a network before training: its keys and the bytes of its weights."""
        document = network.model_dump(mode="json")
        if network.weights == AUTO:
            raise ValueError("weights that are not settled yet have no digest")
        if network.weights not in WEIGHTS_WORDS:
            remember = self.files.writable
            weights = self._file_digests.of(Path(network.weights), remember=remember)
            document["weights"] = weights
        return digest(document)

    # --- the folder ---------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of this folder.

        Raises:
            InputError: another run is using it, or the folder holds something else.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        require_own(self.folder)
        lock = FileLock(self.folder / LOCK, is_singleton=False)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"{self.folder}: another run is using this folder.\n"
                "  Wait for it, or choose another folder with --out."
            ) from error
        try:
            self._clean()
            yield
        finally:
            try:
                self.files.close()
            except (InputError, OSError) as error:  # the run has its files
                self.warn(f"the cache could not be tidied: {error}")
            finally:
                lock.release()

    def _clean(self) -> None:
        """Remove what a killed run left, and what versions before the store kept here."""
        for left in self.folder.glob(".*.tmp"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if (self.folder / ".stages").is_dir():
            self.note(f"{self.folder}: from an older version; its steps are made again")
            for name in _OF_OLD_VERSIONS:
                shutil.rmtree(self.folder / name, ignore_errors=True)


@lru_cache(maxsize=1)
def _load_dataset(folder: Path, root: ImageRoot, written: int) -> tuple[ImageSet, Dataset]:
    found = dataset.load(folder)
    return found.image_set(root), found
