"""Every error a user can meet, in one tree.

    ToolError                       what happened, where, what to do; never shown as a traceback
    ├── InputError                  exit 2: the user's input is wrong (recipe, images, bundle)
    │   └── ImageError              one image cannot be used, and why
    └── MissingDependencyError      exit 3: this machine lacks a package, GPU, weights or space

A requirement that is missed is no error: the report is written and the command exits with 1.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class ToolError(Exception):
    """Base of all errors that are shown to the user as a message and an exit code."""

    exit_code = 2


class InputError(ToolError):
    """The user's input is wrong; the message names the file, line, key or image and the way out."""

    exit_code = 2


class ImageError(InputError):
    """One image cannot be used; the message is the reason, without the file name."""


class MissingDependencyError(ToolError):
    """Something is missing on this machine: a package, a GPU, a driver, weights, disk space."""

    exit_code = 3


@contextmanager
def from_file_system() -> Iterator[None]:
    """Raise what the file system refuses (a full disk, a read-only folder) as one of our errors.

    Also a decorator. An OSError of another kind passes unchanged.

    Raises:
        MissingDependencyError: no space is left.
        InputError: a file or folder cannot be written or read.
    """
    try:
        yield
    except OSError as error:
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error


def _translated(error: OSError) -> ToolError | None:
    where = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingDependencyError(
            f"{where}: no space left on this disk. What was finished is kept: free some space and "
            "run the same command again, or choose another folder with --out."
        )
    refused = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
    if error.errno in refused:
        return InputError(f"{where}: {error.strerror}. Choose another folder with --out.")
    return None
