"""Image files on disk: listed, decoded, identified by their pixels."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from runtime.errors import ImageError, InputError
from runtime.images.decode import decode
from runtime.progress import Track, silent


def usable_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def files_below(folder: Path, skipped: Sequence[Path] = ()) -> list[Path]:
    """All files below a folder, sorted, without hidden files and folders in `skipped`.

    Links to folders are followed, each real folder once.
    """
    files, seen = [], set[str]()
    for where, names, file_names in os.walk(folder, followlinks=True, onerror=_unreadable):
        here = Path(where)
        if (real := os.path.realpath(where)) in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(n for n in names if not n.startswith(".") and here / n not in skipped)
        files += [here / name for name in file_names if not name.startswith(".")]
    return sorted(files)


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # it does not exist, or no longer: the caller gets no files
    raise InputError(f"{error.filename}: this folder cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class DecodedInfo:
    """Size and digest of a file that could be decoded."""

    pixels_sha256: str
    width: int
    height: int


def inspect(paths: Sequence[Path], track: Track = silent) -> dict[Path, DecodedInfo | str]:
    """Decode every file once: its `DecodedInfo`, or the reason why it cannot be used."""
    with warnings.catch_warnings(), ThreadPoolExecutor(usable_cpus()) as pool:
        # Pillow's warnings about odd files: what matters of them is in the rejection's reason.
        warnings.simplefilter("ignore")
        results = track(pool.map(_decoded, paths), label="decoding every image", total=len(paths))
        return dict(zip(paths, results, strict=True))


def _decoded(path: Path) -> DecodedInfo | str:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name or path is not UTF-8: rename it"
    try:
        image = decode(path)
    except ImageError as error:
        return str(error)
    return DecodedInfo(pixels_sha256(image), image.width, image.height)


def pixels_sha256(image: Image.Image) -> str:
    """Return the digest of an image's size and upright RGB pixels."""
    header = f"{image.width}x{image.height} ".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()


def open_rgb(path: Path) -> Image.Image:
    """Decode an image that the audit found usable.

    Raises:
        InputError: it was moved or changed since.
    """
    try:
        return decode(path)
    except ImageError as error:
        raise InputError(
            f"{path}: {error}\n  It was usable when the images were audited: was it moved or "
            "changed during the run? Run the same command again."
        ) from error
