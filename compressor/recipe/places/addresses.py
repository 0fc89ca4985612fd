"""What `data.images` may name besides a folder: which kind of source it is, read from its name."""

from __future__ import annotations

import glob
import itertools
import re
from pathlib import Path, PurePosixPath
from typing import Literal

from runtime.errors import InputError
from runtime.prediction.streams import VIDEO_SUFFIXES
from runtime.text import public_address

Kind = Literal["folder", "list", "shards", "coco", "yolo", "parquet", "video", "store"]
_SUFFIXES: dict[str, Kind] = {
    ".txt": "list",
    ".lst": "list",
    ".tar": "shards",
    ".json": "coco",
    ".yaml": "yolo",
    ".yml": "yolo",
    ".parquet": "parquet",
    ".zip": "store",
    **dict.fromkeys(VIDEO_SUFFIXES, "video"),
}
FEWEST_IMAGES = 40
"""The default of `data.min_images`: usable images below a place that a run needs."""
LABEL_WORDS = ("folders", "source", "none")
"""What `data.labels` may be besides a CSV; `source`: the classes that come with the images."""
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_SEVERAL = re.compile(r"[*?\[{]")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SECRET = re.compile(
    r"//[^/@]*@|[?&][^=&]*(sig|token|secret|password|credential|key)[^=&]*=", re.IGNORECASE
)
_MOST_FILES = 1_000_000


def is_remote(address: str) -> bool:
    """Whether it is an address such as s3://bucket/prefix, not a path."""
    return _REMOTE.match(address) is not None


def kind_of(address: str) -> Kind:
    """Return the kind of source that an address names; a folder on disk is a folder always."""
    if not is_remote(address) and Path(address).is_dir():
        return "folder"
    suffix = PurePosixPath(address.partition("::")[0].partition("?")[0]).suffix.lower()
    if address.lower().endswith((".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".tar.bz2")):
        return "shards"
    return _SUFFIXES.get(suffix, "store" if is_remote(address) else "folder")


def shown(address: str) -> str:
    """Return an address as it may be shown: without user, password and query."""
    if not is_remote(address):
        return address
    return public_address(address).partition("?")[0]


def resolved(address: str, folder: Path) -> str:
    """Return an address with the folder before it that a path in it is relative to."""
    if is_remote(address):
        return address
    path = folder / address
    return str(path.resolve()) if not _SEVERAL.search(address) or path.exists() else str(path)


def from_here(address: str | Path) -> str:
    """Return an address with the current folder before a path in it."""
    return resolved(str(address), Path.cwd())


def has_boxes(address: str) -> bool:
    """Whether boxes come with its images."""
    return kind_of(address) in ("coco", "yolo")


def is_source(address: str | Path) -> bool:
    """Whether it names images, and not a recipe: a YAML file could be both, and is a recipe."""
    kind = kind_of(str(address))
    return Path(address).is_dir() if kind == "folder" else kind != "yolo"


def mistake_in(address: str) -> str | None:
    """Return what is wrong with an address; of a remote one, without asking for it."""
    if is_remote(address):
        if _SECRET.search(address):
            return (
                "holds a password or a signature, which a recipe must not: put credentials where "
                "the store's own tools read them (docs/sources.md)"
            )
        return None
    kind = kind_of(address)
    try:
        if kind == "folder":
            return None if Path(address).is_dir() else f"no such folder: {address}"
        expanded(address)
    except InputError as error:
        return str(error)
    return None


def expanded(address: str) -> list[Path]:
    """Return the files that a path names, with `{000..010}`, `{a,b}`, `*` and `?` in it; sorted.

    Raises:
        InputError: a file is missing, or none matches.
    """
    if Path(address).exists() or not _SEVERAL.search(address):
        names = [address]
    else:
        names = [name for each in braces(address) for name in _matching(each)]
    for name in names:
        if not Path(name).is_file():
            raise InputError(f"no such file: {name}")
    return [Path(name) for name in sorted(set(names))]


def braces(pattern: str) -> list[str]:
    """Return what a pattern with braces stands for: `{000..010}` and `{a,b}`, as in a shell.

    Raises:
        InputError: it stands for too many names.
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = [_choices(part) if at % 2 else [part] for at, part in enumerate(parts)]
    total = 1
    for each in choices:
        total *= len(each)
    if total > _MOST_FILES:
        raise InputError(f"{pattern}: stands for {total:,} names; {_MOST_FILES:,} at most")
    return ["".join(each) for each in itertools.product(*choices)]


def _choices(text: str) -> list[str]:
    if (found := _RANGE.fullmatch(text)) is not None:
        first, last = found.groups()
        if int(last) - int(first) > _MOST_FILES:
            raise InputError(f"{{{text}}}: stands for more than {_MOST_FILES:,} names")
        width = len(first) if first.startswith("0") or len(first) == len(last) else 0
        return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    return text.split(",") if "," in text else [f"{{{text}}}"]


def _matching(pattern: str) -> list[str]:
    if not re.search(r"[*?\[]", pattern) or Path(pattern).exists():
        return [pattern]
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207
    if not found:
        raise InputError(f"no file matches {pattern}")
    return found


def refuse_missing(images: str | Path) -> None:
    """Refuse a folder or other source of images that is not there.

    Raises:
        InputError: says what is missing.
    """
    if not is_source(images):
        if kind_of(str(images)) != "yolo" or not Path(images).is_file():
            raise InputError(f"{images}: no such folder")
    elif mistake := mistake_in(from_here(images)):
        raise InputError(f"{shown(str(images))}: {mistake}")
