"""A folder of images and no recipe: write the one that `compressor init` would write."""

from __future__ import annotations

from pathlib import Path

from compressor.recipe.document import Document
from compressor.recipe.templates import guesses, recipe_name, starter_recipe
from runtime.errors import InputError
from runtime.files import write_text

FILE = "recipe.yaml"


def folder_of(images: Path, out: Path | None) -> Path:
    """Return the run's folder for a folder of images: `out`, else `runs/NAME`.

    Raises:
        InputError: there is no such folder of images.
    """
    if not images.is_dir():
        raise InputError(f"{images}: no such folder")
    return out if out is not None else Path("runs") / recipe_name(images)


def write_first_recipe(images: Path, folder: Path) -> tuple[Path, list[str]]:
    """Write a recipe for a folder of images into the folder of its run.

    An existing recipe is used unchanged: the user may have edited it.

    Args:
        images: the folder of images.
        folder: the run's folder.

    Returns:
        The recipe's path, and lines that say what was guessed and why.

    Raises:
        InputError: the run's folder holds other files, or a recipe for other images.
    """
    path = folder / FILE
    if path.exists():
        _require_same_images(path, images)
        return path, [f"recipe: {path}, which exists already, is used unchanged"]
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ".lock").exists():
        raise InputError(
            f"{folder}: holds other files, which a run could overwrite.\n"
            "  Name a new folder with --out."
        )
    write_text(path, starter_recipe(images, relative_to=folder.resolve()))
    (folder / ".lock").touch()  # from here on it is the folder of a run
    return path, [f"recipe: wrote {path}. What it guesses, to be changed there:", *_lines(images)]


def _lines(images: Path) -> list[str]:
    rows = guesses(images)
    width = max(len(f"{guess.key}: {guess.value}") for guess in rows)
    return [f"  {f'{guess.key}: {guess.value}':<{width}}  ({guess.why})" for guess in rows]


def _require_same_images(path: Path, images: Path) -> None:
    data = Document(path).data.get("data")
    written = data.get("images") if isinstance(data, dict) else None
    if not isinstance(written, str) or (path.parent / written).resolve() != images.resolve():
        raise InputError(
            f"{path}: exists already, and it is a recipe for other images ({written}).\n"
            f"  To run it: compressor run {path}. Or name a new folder with --out."
        )
