"""Entries of the store: files with their sha256, which is checked whenever they are copied."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from compressor.pipeline.storage import records
from compressor.pipeline.storage.records import EntryRecord, FileRecord
from runtime.errors import InputError
from runtime.files import replacing, sha256_of

RECORD = "record.json"


class DamagedError(Exception):
    """A file of the store is not what was made."""


@dataclass(frozen=True)
class Entry:
    """The outputs of one key."""

    key: str
    folder: Path
    record: EntryRecord

    @property
    def size_bytes(self) -> int:
        """Bytes of its own files; those that it links to count where they lie."""
        own = (self.folder / name for name in self.record.files)
        return sum(path.stat().st_size for path in own if path.is_file() and not path.is_symlink())

    @property
    def last_used(self) -> float:
        """Seconds since the epoch."""
        return self.folder.stat().st_mtime

    def is_whole(self) -> bool:
        """Return whether every file is there with its size. The content is not read."""
        try:
            sizes = {name: (self.folder / name).stat().st_size for name in self.record.files}
        except OSError:
            return False
        return all(sizes[name] == record.size for name, record in self.record.files.items())

    def damaged(self) -> Path | None:
        """Return a file whose bytes are not those that were made, or None. Reads all of them."""
        for name, record in self.record.files.items():
            if sha256_of(self.folder / name) != record.sha256:
                return self.folder / name
        return None

    def copy(self, name: str, path: Path) -> None:
        """Copy one file to `path`, whole or not at all.

        Raises:
            DamagedError: its bytes are not those that were made.
        """
        found = hashlib.sha256()
        with replacing(path) as temporary:
            with (self.folder / name).open("rb") as source, temporary.open("wb") as copy:
                while block := source.read(1 << 20):
                    found.update(block)
                    copy.write(block)
            if found.hexdigest() != self.record.files[name].sha256:
                raise DamagedError(str(self.folder / name))


def load(folder: Path) -> Entry | None:
    """Return the entry that a folder holds, if it is whole and its record can be read."""
    try:
        record = records.read(folder / RECORD, EntryRecord)
    except (InputError, OSError):
        return None
    entry = None if record is None else Entry(folder.name, folder, record)
    return entry if entry is not None and entry.is_whole() else None


def write_record(work: Path, entries: Path, seconds: float) -> EntryRecord:
    """Record finished outputs: each file is read once; of a link, the record of its entry is used.

    Args:
        work: the outputs.
        entries: the folder that links lead into.
        seconds: how long making them took.
    """
    files, links = dict[str, FileRecord](), list[str]()
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        name = path.relative_to(work).as_posix()
        if path.is_symlink():
            linked = entries / path.readlink().parent.name
            links.append(linked.name)
            of_link = records.read(linked / RECORD, EntryRecord)
            if of_link is None:
                raise ValueError(f"{path} leads to no entry of {entries}")
            files[name] = of_link.files[path.readlink().name]
        elif name != RECORD:
            files[name] = FileRecord(sha256_of(path), path.stat().st_size)
    record = EntryRecord(files, seconds, tuple(dict.fromkeys(links)))
    records.write(work / RECORD, record)
    return record


def link(path: Path, file: Path) -> None:
    """Make `path`, in an entry's folder `work/KEY/OUTPUT/`, a link to a file of another entry.

    The link is relative, so that it holds after the rename to `entries/KEY/` too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(Path(os.path.join("..", "..", "..", "entries", file.parent.name, file.name)))  # noqa: PTH118
