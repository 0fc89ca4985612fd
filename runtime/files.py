"""Files that are whole or not there, and their fingerprints."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path` in one step.

    A killed or failed write leaves the old file as it was. The data is on disk before the rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Try to write where a folder is or will be, before work of minutes whose result goes there.

    Raises:
        OSError: nothing can be written there.
    """
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    with tempfile.TemporaryFile(dir=nearest):  # without a name: nothing is left, also when killed
        pass


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_NUMBERS = re.compile(r"\[\n[-+.\deE,\s]+\]")
"""A list of numbers, one a line. No text can match: JSON escapes the line breaks in it."""


def write_json(path: Path, document: object) -> None:
    """Write one JSON document, see `json_text`, whole or not at all."""
    write_text(path, json_text(document))


def json_text(document: object) -> str:
    """Return one JSON document, indented, with its keys in the order given. NaN is refused.

    A list of numbers takes one line, however long: a report holds the times of hundreds of runs.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(lambda found: _one_line(found[0]), text) + "\n"


def _one_line(numbers: str) -> str:
    return "[" + ", ".join(numbers.strip("[]").replace(",", " ").split()) + "]"


def cache_folder() -> Path:
    """Return the folder of what can be made again: EDGE_COMPRESSOR_CACHE, or one at home.

    Raises:
        RuntimeError: none is named, and there is no home.
    """
    if named := os.environ.get("EDGE_COMPRESSOR_CACHE"):
        return Path(named).absolute()
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "edge-compressor"


DEVICE_CACHE = "device"
"""Below it: what a device compiles as it opens a file. A bundle is sealed and takes none of it."""


def device_cache(name: str) -> Path | None:
    """Return a folder for what a device compiles; None where caches are switched off.

    Args:
        name: of the library that compiles, and of the file.
    """
    if os.environ.get("EDGE_COMPRESSOR_CACHE_GB") == "0":
        return None
    try:
        return cache_folder() / DEVICE_CACHE / name
    except RuntimeError:  # no home
        return None


def stays_below(name: str) -> bool:
    """Whether a relative name, with `/` between its parts, leads nowhere but into its folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def sha256_of(path: Path, *more: Path) -> str:
    """Hex sha256 of a file's bytes, or of a folder's (names and bytes of all files below it).

    Args:
        path: the file or folder.
        more: files whose bytes follow those of the first.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = (f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    digest = hashlib.sha256()
    for each in (path, *more):
        with each.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
