"""A folder of weights: one that `compressor fetch` filled, or files named after their models."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from compressor.recipe.networks import AUTO, WEIGHTS_WORDS, Network
from runtime import documents
from runtime.errors import InputError

MANIFEST = "weights.json"
SUFFIXES = (".safetensors", ".pth")
"""Of files in a folder without manifest, such as `mobilenetv2_100.safetensors`."""
AnyNetwork = TypeVar("AnyNetwork", bound=Network)


class FetchedFile(Struct, frozen=True, kw_only=True):
    """The weights of one model."""

    names: tuple[str, ...]
    """What a recipe may call the model; the first has the tag of its weights."""
    file: str
    """A .safetensors in the folder."""
    sha256: str
    size: int
    """In bytes."""
    hub_id: str
    license: str | None
    url: str
    """Where it was fetched."""


class Manifest(Struct, frozen=True, kw_only=True):
    """The content of weights.json."""

    files: tuple[FetchedFile, ...]
    schema_version: int = 1


def read(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise _nothing_in(folder)
    return documents.read(path, Manifest, what="list of fetched weights")


def require_any(folder: Path) -> None:
    """Refuse a folder that holds no weights at all.

    Raises:
        InputError: it has neither a manifest nor a file of weights; or the manifest is wrong.
    """
    if (folder / MANIFEST).is_file():
        read(folder)
    elif not any(path.suffix in SUFFIXES for path in folder.iterdir()):
        raise _nothing_in(folder)


def _nothing_in(folder: Path, model: str = "MODEL") -> InputError:
    return InputError(
        f"{folder}: a folder without {MANIFEST} and without {model}.safetensors or {model}.pth; "
        "`compressor fetch RECIPE --to FOLDER` fills one, or name a file"
    )


def file_for(folder: Path, model: str) -> Path:
    """Return the file of a model: of a fetched folder by its manifest, else the one of its name.

    Raises:
        InputError: the folder has none for this model, or the file is not whole.
    """
    if not (folder / MANIFEST).is_file():
        return _file_named(folder, model)
    files = read(folder).files
    found = next((each for each in files if model in each.names), None)
    if found is None:
        held = ", ".join(each.names[0] for each in files) or "nothing"
        raise InputError(
            f"{folder}: holds the weights of {held}; not of {model}. "
            "`compressor fetch` adds those of a recipe"
        )
    path = folder / found.file
    if not path.is_file():
        raise InputError(f"{path}: no such file, though {MANIFEST} names it; copy the folder again")
    if path.stat().st_size != found.size:
        raise InputError(
            f"{path}: {path.stat().st_size:,} bytes of {found.size:,}; copy the folder again"
        )
    return path


def _file_named(folder: Path, model: str) -> Path:
    for suffix in SUFFIXES:
        if (path := folder / f"{model}{suffix}").is_file():
            return path
    raise _nothing_in(folder, model)


def with_file(network: AnyNetwork) -> AnyNetwork:
    """Return a section of a recipe with the file of its model instead of a fetched folder.

    Raises:
        InputError: as for `file_for`.
    """
    folder = Path(network.weights)
    if network.model == AUTO or network.weights in WEIGHTS_WORDS or not folder.is_dir():
        return network
    return network.model_copy(update={"weights": str(file_for(folder, network.model))})


def entry_of(path: Path) -> FetchedFile | None:
    """Return what the manifest beside a file says of it, or None."""
    if not (path.parent / MANIFEST).is_file():
        return None
    return next((each for each in read(path.parent).files if each.file == path.name), None)
