"""The files of a run: which step made them, where they are, and whether they are unchanged."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec

from compressor.pipeline.storage import records
from compressor.pipeline.storage.cache import PRIVATE, private_store, store_for
from compressor.pipeline.storage.entries import Entry
from compressor.pipeline.storage.records import FileRecord, RunRecord, StepRecord
from compressor.pipeline.storage.store import Store
from runtime.errors import InputError
from runtime.files import sha256_of

logger = logging.getLogger(__name__)

LOCK = ".lock"
"""What makes a folder the folder of a run."""


def require_own(folder: Path) -> None:
    """Refuse the folder of a run that holds other files than a run's.

    A store of its own may be there before the lock: what is tried early is kept in it.

    Raises:
        InputError: it does.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names - {PRIVATE} and LOCK not in names:
        raise InputError(
            f"{folder}: holds other files, which a run could overwrite.\n"
            "  Name a new folder with --out."
        )


class RunFiles:
    """Finds outputs of steps in the run folder or the store, and copies them into the run folder.

    The file steps.json says what is there. While a step works, it may only ask for files of steps
    that it declares in `needs`.
    """

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        """Open the files of the run in `folder`; with `writable=False` nothing is touched."""
        self.folder = folder
        self.writable = writable
        self.make_again: Callable[[str], None] | None = None
        """Makes the large outputs of a step again that were removed from the store."""
        self.order: tuple[str, ...] = ()
        """Names of the steps of this run, in order."""
        self._reader: tuple[str, tuple[str, ...]] | None = None
        self._parts = dict[str, list[str]]()

    @cached_property
    def store(self) -> Store:
        """The shared store, or one of this run's own."""
        return store_for(self.folder, writable=self.writable)

    @cached_property
    def own_store(self) -> Store:
        """The store of outputs that other runs must not use."""
        return private_store(self.folder)

    def close(self) -> None:
        """End the protection of what this run used in the stores.

        A store of its own has no limit: it keeps what the run's steps are made of, and no more.
        """
        names = [name for name in ("store", "own_store") if name in self.__dict__]
        stores: list[Store] = [self.__dict__[name] for name in names]
        for store in stores:
            if store.limit_bytes is None:
                records = self.steps.values()
                store.keep_only(key for made in records for key in (made.entry, *made.parts))
        for store in stores:
            store.close()

    @cached_property
    def steps(self) -> dict[str, StepRecord]:
        """What the steps have made, by name."""
        found = records.read(self.folder / records.STEPS, RunRecord)
        return {} if found is None else dict(found.steps)

    def read_again(self) -> None:
        """Forget what steps.json said: other steps have run in this folder."""
        self.__dict__.pop("steps", None)

    @contextmanager
    def reading(self, step: str, needs: tuple[str, ...]) -> Iterator[None]:
        """Let a step ask for outputs of the steps that it needs, and for no others."""
        before, self._reader = self._reader, (step, needs)
        try:
            yield
        finally:
            self._reader = before

    def use_part(self, key: str) -> None:
        """Note that the step at work uses a further entry of the store."""
        if self._reader is not None:
            self._parts.setdefault(self._reader[0], []).append(key)

    def record(self, step: str) -> StepRecord:
        """Return what a finished step has made.

        Raises:
            InputError: it has made nothing yet.
            LookupError: the step at work does not declare that it needs it: a programmer's error.
        """
        if self._reader is not None and step not in self._reader[1]:
            raise LookupError(f"step {self._reader[0]!r} reads {step!r}, which its needs lack")
        if step not in self.steps:
            raise InputError(f"{self.folder}: step {step} is not made yet; compressor run makes it")
        return self.steps[step]

    def path(self, name: str) -> Path:
        """Return where a file or folder is that a step has made.

        Raises:
            InputError: no step has made it, or it was removed from the store.
            LookupError: as for `record`.
        """
        top = name.split("/")[0]
        step = self._maker(top)
        record = self.record(step)
        if top in record.products:
            return self.folder / name
        entry = self._entry(record)
        if entry is None and self.make_again is not None:
            self.make_again(step)
            entry = self._entry(record)
        if entry is None:
            raise InputError(
                f"{self.folder}: its {name} are no longer in the cache; compressor run makes them "
                "again"
            )
        return entry.folder / name

    def _maker(self, output: str) -> str:
        for step, record in self.steps.items():
            if output in record.products + record.kept:
                return step
        raise InputError(f"{self.folder}: {output} is not made yet; compressor run makes it")

    def _entry(self, record: StepRecord) -> Entry | None:
        if self.writable:
            return self.store.find(record.entry)
        return self.store.peek(record.entry) or self.own_store.peek(record.entry)

    def changed(self, step: str) -> str | None:
        """Return which copied file of a step is missing or changed, or None. Reads no content."""
        record = self.steps[step]
        for name, file in record.files.items():
            if name.split("/")[0] in record.products and not _is_same(self.folder / name, file):
                return name
        return None

    def place(self, step: str, record: StepRecord, entry: Entry) -> None:
        """Copy the products of a step from the store into the run folder, and record it.

        Raises:
            DamagedError: a file of the entry is not what was made.
        """
        present = self.steps[step].files if step in self.steps else {}
        placed = dict(record.files)
        for product in record.products:
            names = record.below(product)
            if not self._has(names, present, record):
                self._copy(entry, product, names)
            for name in names:
                file, mtime_ns = record.files[name], (self.folder / name).stat().st_mtime_ns
                placed[name] = FileRecord(file.sha256, file.size, mtime_ns)
        parts = tuple(self._parts.pop(step, ()))
        if not parts and step in self.steps and self.steps[step].entry == record.entry:
            parts = self.steps[step].parts
        self.steps[step] = msgspec.structs.replace(record, files=placed, parts=parts)
        self.save()

    def seconds(self) -> dict[str, float]:
        """Return how long making each step took, in their order; of finished steps only."""
        return {name: self.steps[name].seconds for name in self.order if name in self.steps}

    def save(self) -> None:
        """Write steps.json."""
        records.write(self.folder / records.STEPS, RunRecord(self.steps))

    def _has(self, names: list[str], present: dict[str, FileRecord], record: StepRecord) -> bool:
        return all(
            name in present
            and present[name].sha256 == record.files[name].sha256
            and _is_same(self.folder / name, present[name])
            for name in names
        )

    def _copy(self, entry: Entry, product: str, names: list[str]) -> None:
        """Copy a file, or a folder as a whole: the old one stays until the new one is complete."""
        if names == [product]:
            entry.copy(product, self.folder / product)
            return
        new, old = (self.folder / f".{product}.{which}.tmp" for which in ("new", "old"))
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir()
        for name in names:
            entry.copy(name, new / Path(name).relative_to(product))
        if (self.folder / product).exists():
            (self.folder / product).replace(old)
        new.replace(self.folder / product)
        shutil.rmtree(old, ignore_errors=True)


def _is_same(path: Path, file: FileRecord) -> bool:
    """By size and time; a file that was only touched or copied is read."""
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_size != file.size:
        return False
    return status.st_mtime_ns == file.mtime_ns or sha256_of(path) == file.sha256
