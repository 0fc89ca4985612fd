"""The source that an address names, opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.data.sources.source import Root, Roots, Source
from compressor.data.sources.stored_file import StoredFile, local_files
from compressor.recipe.places.addresses import (
    Kind,
    expanded,
    has_boxes,
    is_remote,
    kind_of,
    mistake_in,
    shown,
)
from runtime.errors import InputError

if TYPE_CHECKING:
    from compressor.recipe.schema import Data


def opened(address: str | Path, *, crops: bool = False, frame_seconds: float = 1.0) -> Root:
    """Return the folder or source of an address, with the names of its images read.

    Args:
        address: as in `data.images`, with an absolute path.
        crops: whether each annotated box is an image, as in `data.crops`.
        frame_seconds: the least time between two frames of a video, as in `data.frame_seconds`.

    Raises:
        InputError: it is not there, or it cannot be read.
        MissingDependencyError: a package that reads this kind is missing.
    """
    text = str(address)
    kind = kind_of(text)
    if crops and kind not in ("coco", "yolo"):
        raise InputError(
            f"{address}: data.crops is true, and boxes come with COCO's and YOLO's data sets only"
        )
    if kind == "folder":
        if not Path(text).is_dir():
            raise InputError(f"{address}: no such folder")
        return Path(text)
    if is_remote(text) or kind == "store":
        return _remote(text, kind)
    paths = expanded(text)
    if kind == "list":
        from compressor.data.sources.list_file import ListFile

        return ListFile(_only(paths, text))
    if kind in ("shards", "parquet"):
        return _of_files(kind, text, local_files(paths))
    if kind in ("coco", "yolo"):
        from compressor.data.sources.annotated import coco, yolo
        from compressor.data.sources.annotated.boxes import Crops

        whole = (coco if kind == "coco" else yolo).read(_only(paths, text))
        return Crops(whole) if crops else whole
    from compressor.data.sources.video import Videos

    return Videos(text, local_files(paths), frame_seconds)


def _remote(address: str, kind: Kind) -> Source:
    """Open what lies in a store; a ZIP file on this disk is one too."""
    from compressor.data.sources.stores import remote

    if secret := mistake_in(address):
        raise InputError(f"{shown(address)}: {secret}")
    if kind == "store" and address.startswith("hf://"):  # data sets of the hub are Parquet files
        address, kind = f"{address.rstrip('/')}/**/*.parquet", "parquet"
    if kind == "store":
        return remote.images_below(address if is_remote(address) else f"zip://::{address}")
    if kind == "list":
        return remote.listed(address)
    if kind in ("shards", "parquet"):
        return _of_files(kind, shown(address), remote.remote_files(address))
    raise InputError(
        f"{shown(address)}: this kind of source is read from a disk only; copy it, or name a "
        "folder, a list or tar shards of the store"
    )


def _of_files(kind: Kind, address: str, files: Sequence[StoredFile]) -> Source:
    """Open files that hold many images each, wherever they lie."""
    if kind == "parquet":
        from compressor.data.sources.parquet import ParquetImages

        return ParquetImages(address, files)
    from compressor.data.sources.tar_shards import TarShards

    return TarShards(address, files)


def opened_all(data: Data) -> Roots:
    """Return where all images of a recipe are.

    Args:
        data: of a recipe whose paths are resolved.

    Raises:
        InputError: as for `opened`.
    """

    def at(address: str, *, crops: bool) -> Root:
        return opened(address, crops=crops, frame_seconds=data.frame_seconds)

    own, outside = None if isinstance(data.holdout, float) else data.holdout, data.ood
    return Roots(
        at(data.images, crops=data.crops),
        at(own, crops=data.crops) if own is not None else None,
        at(outside, crops=data.crops and has_boxes(outside)) if outside else None,
        data.returned,
    )


def _only(paths: list[Path], address: str) -> Path:
    if len(paths) > 1:
        raise InputError(f"{address}: names {len(paths)} files; one is read")
    return paths[0]
