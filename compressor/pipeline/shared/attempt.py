"""A file that some students cannot have: it is made, or the reason is written in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from compressor.pipeline.context import Run
from runtime import documents
from runtime.documents import Precision, read_json
from runtime.errors import FileNotMadeError, InputError
from runtime.files import write_json
from runtime.results.scores import to_json


class NotMade(Struct, frozen=True):
    """What a step writes in place of the document of a file that could not be made."""

    not_made: str
    """The reason."""


def make_or_say_why(
    run: Run, precision: Precision, file: Path, document: Path, make: Callable[[], Struct]
) -> None:
    """Make a file of a precision; if it cannot be made, warn and write why. The run goes on.

    Args:
        run: is told.
        precision: of the file.
        file: what `make` writes; removed if it is not what it should be.
        document: the JSON file to write: how the file was made, or `NotMade`.
        make: makes the file and returns how. It is only caught with `FileNotMadeError`.
    """
    try:
        made = make()
    except FileNotMadeError as error:
        file.unlink(missing_ok=True)
        made = NotMade(in_one_line(error, document.parent))
        run.warn(f"no {precision} file: {made.not_made}\n  The run goes on without it.")
    write_json(document, to_json(made))


def in_one_line(error: Exception, folder: Path) -> str:
    """Return a message without its line breaks, and without the folder that the file is in."""
    lines = str(error).replace(f"{folder}/", "").splitlines()
    return " ".join(line.strip() for line in lines)


def why_not_made(document: Path) -> str | None:
    """Return why a file was not made; None if it was.

    Args:
        document: written by `make_or_say_why`.

    Raises:
        InputError: it is neither kind of document.
    """
    found = read_json(document)
    if not isinstance(found, dict):
        raise InputError(f"{document}: not an object; compressor run makes it again")
    if "not_made" not in found:
        return None
    return documents.typed(found, NotMade, document).not_made
