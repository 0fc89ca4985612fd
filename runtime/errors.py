"""Every error a user can meet, in one tree.

    ToolError                       what happened, where, what to do; never shown as a traceback
    ├── InputError                  exit 2: the user's input is wrong (recipe, images, bundle)
    │   ├── ImageError              one image cannot be used, and why
    │   └── FileNotMadeError        one file cannot be made of a student; a run goes on without it
    └── MissingDependencyError      exit 3: this machine lacks a package, GPU, weights or space

A requirement that is missed is no error: the report is written and the command exits with 1.
Whatever else is raised is a bug: exit 70, and its traceback is in a file that the message names.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ToolError(Exception):
    """Base of all errors that are shown to the user as a message and an exit code."""

    exit_code = 2


class InputError(ToolError):
    """The user's input is wrong; the message names the file, line, key or image and the way out."""

    exit_code = 2


class ImageError(InputError):
    """One image cannot be used; the message is the reason, without the file name."""


class FileNotMadeError(InputError):
    """One file cannot be made; the message is the reason. Others may be made all the same."""


class MissingDependencyError(ToolError):
    """Something is missing on this machine: a package, a GPU, a driver, weights, disk space."""

    exit_code = 3


@contextmanager
def from_file_system() -> Iterator[None]:
    """Raise what the file system refuses (a full disk, a read-only folder) as one of our errors.

    Also a decorator. An OSError of another kind passes unchanged.

    Raises:
        MissingDependencyError: no space is left.
        InputError: a file or folder cannot be written or read; or its name cannot, in this locale.
    """
    try:
        yield
    except OSError as error:
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error
    except UnicodeEncodeError as error:
        if codecs.lookup(sys.getfilesystemencoding()).name == "utf-8":
            raise
        raise InputError(
            f"{error.object!r}: the encoding of this locale ({error.encoding}) does not have this "
            "name. Set PYTHONUTF8=1, or a UTF-8 locale such as C.UTF-8, before Python starts."
        ) from error


def _translated(error: OSError) -> ToolError | None:
    where = error.filename or "a file"
    if error.errno in _FULL:  # of a copy the first name is what is read
        return _disk_full(error.filename2 or error.filename or "a file that was being written")
    refused = (
        errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
        errno.ENAMETOOLONG, errno.ELOOP,
    )  # fmt: skip
    if error.errno in refused:
        return InputError(f"{where}: {error.strerror}. Choose another folder.")
    if error.errno == errno.ENOENT and error.filename and _is_of_the_kernel(Path(error.filename)):
        return InputError(f"{where}: /proc and the like take no files. Choose another folder.")
    return None


def _is_of_the_kernel(path: Path) -> bool:
    """Whether a path is in a file system without blocks: what it lacks nobody can make."""
    nearest = next((each for each in path.absolute().parents if each.exists()), None)
    return os.name == "posix" and nearest is not None and os.statvfs(nearest).f_blocks == 0


def lacking(error: BaseException) -> MissingDependencyError | None:
    """Return what is missing behind an error: disk, memory, or a package that others need.

    A library names the first two in its own words.

    Args:
        error: of any kind; what it was raised from is looked at too.
    """
    seen: BaseException | None = error
    while seen is not None:
        name, text = type(seen).__name__, str(seen)
        if any(words in text for words in _GPU_MEMORY_WORDS):
            return MissingDependencyError(
                f"the GPU's memory is full ({_first_line(text)}). What was finished is kept. Is "
                "another process on it (nvidia-smi)? In training, distill.accumulate: 2, a smaller "
                "distill.batch or image_size takes less."
            )
        if name in _MEMORY_ERRORS or is_about_memory(text):
            return MissingDependencyError(
                f"out of memory ({_first_line(text) or name}). What was finished is kept: close "
                "other programs, or lower distill.batch or distill.workers, and run the same "
                "command again."
            )
        package = (getattr(seen, "name", None) or "").partition(".")[0]
        if isinstance(seen, ModuleNotFoundError) and package and package not in _OURS:
            return MissingDependencyError(
                f"the Python package {package} is not installed. Install edge-compressor with all "
                f"it needs, as pip install 'edge-compressor[cpu]' does, or pip install {package}"
            )
        is_full = isinstance(seen, OSError) and seen.errno in _FULL
        if is_full or any(words in text for words in _DISK_WORDS):
            return _disk_full(_first_line(text))
        seen = seen.__cause__ or seen.__context__
    return None


def is_about_memory(text: str) -> bool:
    """Return whether what a library said means that memory is out."""
    return any(words in text for words in _MEMORY_WORDS)


_OURS = ("compressor", "export", "runtime")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MEMORY_ERRORS = {"MemoryError", "OutOfMemoryError", "_ArrayMemoryError"}
_MEMORY_WORDS = ("can't allocate memory", "Failed to allocate memory", "bad_alloc")
"""Of torch on a CPU, ONNX Runtime, and C++ in any of them."""
_GPU_MEMORY_WORDS = ("CUDA out of memory", "CUDA failure 2", "CUDA error cudaErrorMemoryAllocation")
"""Of torch, ONNX Runtime."""
_DISK_WORDS = ("No space left on device", "os error 28", "PytorchStreamWriter failed writing file")
"""Of most libraries, safetensors, torch."""


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _disk_full(where: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"{where}: no space left on this disk. What was finished is kept: free some space and "
        "run the same command again, or choose another folder."
    )
