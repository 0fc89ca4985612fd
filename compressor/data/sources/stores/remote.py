"""Images that are files of a store, and files of a store that hold many images."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from compressor.data.layout.service_folders import is_service_folder
from compressor.data.sources.source import Source, clean
from compressor.data.sources.stored_file import Reader
from compressor.data.sources.stores.store import Store
from compressor.recipe.places.addresses import braces
from runtime.errors import InputError
from runtime.images.kinds import has_image_suffix

_VERSIONS = (
    "ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "CRC", "date_time",
    "blob_id",
)  # fmt: skip


class RemoteFile:
    """A file of a store that holds many images."""

    def __init__(self, store: Store, path: str, name: str, info: Mapping[str, Any]) -> None:
        self.name, self._store, self._path, self._info = name, store, path, info
        self.size = int(info.get("size") or 0)

    def stamp(self) -> object:
        """Return its name and size, and its version if the store has one."""
        return [self.name, *_stamp(self._info)]

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Open it to read it from its beginning to its end."""
        with self._store.reading(self._path) as read:
            yield read

    def read(self, offset: int, length: int) -> bytes:
        """Return a part of it, with one request."""
        return self._store.read(self._path, offset, length)

    def __str__(self) -> str:
        """Its address, for messages."""
        return self._store.where(self._path)


class RemoteImages(Source):
    """Images that are files of a store: those below an address, or those of a list."""

    def __init__(self, store: Store, files: Mapping[str, tuple[str, Sequence[object]]]) -> None:
        """Keep the names.

        Args:
            store: where they are.
            files: path in the store of each image, and its size and version, by its name.

        Raises:
            InputError: there are none.
        """
        super().__init__(store.address)
        self._store, self._files = store, files
        self._names = sorted(files)
        if not files:
            raise InputError(f"{store.address}: no image files")

    @property
    def names(self) -> Sequence[str]:
        """The name of each image, sorted."""
        return self._names

    def open(self, name: str) -> BinaryIO:
        """Read a file, with one request.

        Raises:
            ImageError: it is absurdly large.
        """
        path, (size, *_) = self._files[name]
        self._require_small(size if isinstance(size, int) else 0)
        return io.BytesIO(self._store.read(path))

    def fingerprint(self) -> object:
        """Return names, sizes and versions."""
        return [[name, self._files[name][1]] for name in self._names]


def images_below(address: str) -> RemoteImages:
    """Return the images below an address; other files are left out and counted.

    Raises:
        InputError: the store refuses, cannot be reached, or has no images there.
        MissingDependencyError: a package for it is missing.
    """
    store = Store(address)
    found = store.find()
    files, others = dict[str, tuple[str, Sequence[object]]](), 0
    pattern = re.split(r"[*?\[]", store.path)[0]
    begin = pattern if pattern == store.path else pattern.rpartition("/")[0]
    for path, info in found.items():
        if info.get("type") == "directory":
            continue
        inside = path[len(begin) :] if path.startswith(begin) else path
        name = clean(inside) or clean(PurePosixPath(path).name)
        hidden = any(part.startswith(".") or is_service_folder(part) for part in name.split("/"))
        if hidden or not has_image_suffix(name.partition("?")[0]):
            others += 1
            continue
        files[name] = (path, _stamp(info))
    source = RemoteImages(store, files)
    if others:
        source.notes = [f"left out: {others} files that are not named like images"]
    return source


def listed(address: str) -> RemoteImages:
    """Return the images of a list in a store: a path a line, relative to the list's folder.

    Raises:
        InputError: as for `images_below`; or a line is no relative path.
    """
    store = Store(address)
    folder, stamp = store.path.rpartition("/")[0], [None, *_stamp(store.info())]
    try:
        text = store.read(store.path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{store.address}: not UTF-8 text, so not a list of images") from error
    files = dict[str, tuple[str, Sequence[object]]]()
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if "://" in name or name.startswith("/") or ".." in name.split("/"):
            raise InputError(
                f"{store.address}:{number}: a path below the list's own folder is wanted"
            )
        if name:
            files[clean(name)] = (f"{folder}/{name}", stamp)
    return RemoteImages(store, files)


def remote_files(address: str) -> list[RemoteFile]:
    """Return the files that an address with `{000..010}` or `*` names, sorted.

    Raises:
        InputError: one is missing, or none matches.
    """
    files = list[tuple[Store, str, Mapping[str, Any]]]()
    for each in braces(address):
        store = Store(each)
        if not re.search(r"[*?\[]", store.path):
            files.append((store, store.path, store.info()))
            continue
        found = store.find()
        if not found:
            raise InputError(f"{store.address}: no file matches")
        files += [(store, path, info) for path, info in found.items()]
    folders = [path.split("/")[:-1] for _, path, _ in files]
    first, last = min(folders), max(folders)
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    begin = sum(len(part) + 1 for part, _ in shared)
    return sorted(
        (RemoteFile(store, path, path[begin:], info) for store, path, info in files),
        key=lambda file: file.name,
    )


def _stamp(info: Mapping[str, Any]) -> list[object]:
    """Return size and version of a file, by whatever the store calls it."""
    version = next((info[key] for key in _VERSIONS if info.get(key)), None)
    return [info.get("size"), str(version)]
