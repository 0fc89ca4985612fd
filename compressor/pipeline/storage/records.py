"""Typed records of what was made: `record.json` of an entry and `steps.json` of a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from compressor.pipeline.storage.digests import digest
from runtime.errors import InputError
from runtime.files import write_text

STEPS = "steps.json"
T = TypeVar("T", bound=msgspec.Struct)


class FileRecord(msgspec.Struct, frozen=True):
    """One file that was made."""

    sha256: str
    size: int
    mtime_ns: int | None = None
    """Time of the copy in the run folder; None for a file that stays in the store."""


class EntryRecord(msgspec.Struct, frozen=True):
    """What an entry of the store holds."""

    files: dict[str, FileRecord]
    """By path, relative to the entry."""
    seconds: float
    """How long making it took, attempts that were killed included."""
    links: tuple[str, ...] = ()
    """Keys of other entries that files of this one are links to."""


class StepRecord(msgspec.Struct, frozen=True):
    """What a step has made for a run."""

    key: str
    entry: str
    """Key of the outputs in the store."""
    products: tuple[str, ...]
    """Outputs that were copied into the run folder."""
    kept: tuple[str, ...]
    """Outputs that are in the store only."""
    files: dict[str, FileRecord]
    """All files of all outputs."""
    seconds: float
    """How long making them took, attempts that were killed included."""
    parts: tuple[str, ...] = ()
    """Keys of further entries of the store that making them used or made."""

    def digests(self) -> dict[str, str]:
        """Return the digest of each output: of a file its sha256, of a folder that of its files."""
        return {name: self._digest(name) for name in self.products + self.kept}

    def _digest(self, output: str) -> str:
        if output in self.files:
            return self.files[output].sha256
        return digest({name: self.files[name].sha256 for name in self.below(output)})

    def below(self, output: str) -> list[str]:
        """Return the files of one output."""
        return [name for name in sorted(self.files) if name.split("/")[0] == output]


class RunRecord(msgspec.Struct, frozen=True):
    """The content of steps.json."""

    steps: dict[str, StepRecord]
    schema_version: int = 1


def write(path: Path, record: msgspec.Struct) -> None:
    """Write a record as JSON, whole or not at all."""
    write_text(path, msgspec.json.format(msgspec.json.encode(record)).decode() + "\n")


def read(path: Path, kind: type[T]) -> T | None:
    """Read a record; None if there is none.

    Raises:
        InputError: the file is something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}. Remove it and run again.") from error
