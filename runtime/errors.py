"""Every error a user can meet, in one tree.

    ToolError                       what happened, where, what to do; never shown as a traceback
    ├── InputError                  exit 2: the user's input is wrong (recipe, images, bundle)
    │   └── ImageError              one image cannot be used, and why
    └── MissingDependencyError      exit 3: this machine lacks a package, GPU, weights or space

A requirement that is missed is no error: the report is written and the command exits with 1.
"""


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
