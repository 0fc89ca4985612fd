"""The files of an images folder: in depth, each real folder once, service folders left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.data.layout.service_folders import count_files, is_service_folder
from compressor.data.sources.source import Root
from runtime.errors import InputError
from runtime.images.image_file import ImageFile
from runtime.images.kinds import has_image_suffix

_SHOWN = 5


@dataclass(frozen=True)
class Listing:
    """The files of a folder, and what was left out."""

    files: tuple[Path, ...]
    """Sorted."""
    service: Mapping[str, int]
    """Files in service folders, by the name of the folder."""
    hidden: int
    """Files named like images whose name, or whose folder's, begins with a dot."""
    links: tuple[str, ...]
    """A sentence for each link to a folder that was not followed."""

    def left_out(self) -> list[str]:
        """Return a line for each kind of what was left out."""
        lines = []
        filled = {name: count for name, count in sorted(self.service.items()) if count}
        if filled:
            each = ", ".join(f"{name} {count}" for name, count in filled.items())
            lines.append(f"left out: {sum(filled.values())} files in service folders ({each})")
        if self.hidden:
            lines.append(f"left out: {self.hidden} hidden images (a dot begins their name)")
        lines += self.links[:_SHOWN]
        if more := len(self.links) - _SHOWN:
            lines += [f"and {more} more links to folders"] if more > 0 else []
        return lines


def files_below(folder: Path, skipped: Sequence[Path] = ()) -> list[Path]:
    """Return the files below a folder, as `list_files` does."""
    return list(list_files(folder, skipped).files)


def files_of(
    root: Root, skipped: Sequence[Root]
) -> tuple[dict[ImageFile, tuple[str, ...]], Sequence[str]]:
    """Return the folders around each image of a root, and sentences on what was left out.

    Raises:
        InputError: a folder cannot be read.
    """
    if not isinstance(root, Path):
        return {root / name: root.folders(name) for name in root.names}, root.notes
    folders = [each for each in skipped if isinstance(each, Path)]
    listing, left_out = list_files(root, folders), set(folders)
    inside: dict[ImageFile, tuple[str, ...]] = {
        path: path.relative_to(root).parts[:-1] for path in listing.files if path not in left_out
    }
    return inside, listing.left_out()


def list_files(folder: Path, skipped: Sequence[Path] = ()) -> Listing:
    """List all files below a folder, without hidden files, service folders and `skipped` folders.

    A file is listed where it lies. A link to a folder is followed only if it leads to files that
    are not below `folder` anyway, so that a link never moves an image to another class. Of several
    links to one folder the first by name is followed.

    Raises:
        InputError: a folder cannot be read.
    """
    walk = _Walk(folder, skipped)
    walk.below(folder)
    while links := walk.waiting_links():
        for link in links:
            walk.below(link)
    return Listing(
        tuple(sorted(walk.files)), dict(walk.service), walk.hidden, tuple(walk.not_followed)
    )


class _Walk:
    """A walk over folders. Recursion would end at Python's limit; a folder may be nested deeper."""

    def __init__(self, root: Path, skipped: Sequence[Path]) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)
        self.files: list[Path] = []
        self.service = Counter[str]()
        self.hidden = 0
        self.not_followed: list[str] = []
        self._skipped = {os.path.realpath(each) for each in skipped}
        self._links: list[Path] = []
        self._seen: dict[str, Path] = {}  # where each real folder was listed
        self._reserved: set[str] = set()  # targets of links: of no other folder

    def below(self, top: Path) -> None:
        """List the files below a folder or a link to one."""
        waiting = [top]
        while waiting:
            here = waiting.pop()
            real = os.path.realpath(here)
            if real in self._seen or (here != top and real in self._reserved):
                continue
            self._seen[real] = here
            try:
                with os.scandir(here) as entries:
                    waiting += [here / entry.name for entry in entries if self._is_folder(entry)]
            except OSError as error:
                _unreadable(error)

    def waiting_links(self) -> list[Path]:
        """Return links to folders whose files are not listed yet; the others are told of."""
        found, self._links = sorted(self._links), []
        targets: dict[str, Path] = {}
        for link in found:
            target, lies_in = os.path.realpath(link), os.path.realpath(link.parent)
            if any(_holds(folder, target) for folder in self._skipped - {self._real_root}):
                continue
            if _holds(target, lies_in) or _holds(target, self._real_root):
                self._tell(link, "is a link to a folder that it lies in: not followed")
            elif (there := self._seen.get(target, targets.get(target))) is not None:
                name = there.relative_to(self.root).as_posix()
                self._tell(link, f"is a link to {name}: each image counts once, as part of {name}")
            else:
                targets[target] = link
        self._reserved = set(targets)
        return list(targets.values())

    def _tell(self, link: Path, what: str) -> None:
        self.not_followed.append(f"{link.relative_to(self.root).as_posix()} {what}")

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Keep a file, count what is left out, put a link aside; tell whether to go into it."""
        name, path = entry.name, Path(entry.path)
        # Only a link has to be followed; of all others the folder's listing knows what they are
        is_link = entry.is_symlink()
        is_folder = path.is_dir() if is_link else entry.is_dir()  # False for a link in a circle
        if is_folder and is_service_folder(name):
            self.service[name] += count_files(path)
            return False
        if name.startswith("."):
            if is_folder:
                self.hidden += count_files(path, images_only=True)
            else:
                self.hidden += has_image_suffix(name)
            return False
        if not is_folder:
            self.files.append(path)
            return False
        if is_link:
            self._links.append(path)
            return False
        return os.path.realpath(path) not in self._skipped


def _holds(folder: str, other: str) -> bool:
    """Whether a real folder is another one, or holds it in depth."""
    return other == folder or other.startswith(folder.rstrip("/") + "/")


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # it does not exist, or no longer: the caller gets no files
    raise InputError(f"{error.filename}: this folder cannot be read: {error.strerror}") from error
