"""Tar shards as WebDataset writes them, read in place: an index of members with their offsets."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from compressor.data.layout.class_folders import class_name
from compressor.data.sources.source import Source, clean
from compressor.data.sources.stored_file import StoredFile
from compressor.data.sources.tar_headers import entries
from runtime import documents
from runtime.errors import InputError
from runtime.images.kinds import has_image_suffix

LABEL_KEYS = ("label", "class", "class_name", "category", "cls")
"""Keys of a sample's JSON that may name its class; the first that is there does."""
_THREADS = 8


class TarShards(Source):
    """Images in tar shards. Members with one name up to its first dot are one sample.

    The class of a sample is what its `.cls` says, else its `.json`. A name is the shard's and the
    member's: `train-000.tar/cat/1.jpg`.
    """

    def __init__(self, address: str, shards: Sequence[StoredFile]) -> None:
        """Index the shards.

        Raises:
            InputError: one is cut short, damaged, compressed or no tar, or there are no images.
        """
        super().__init__(address)
        self._shards = list(shards)
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(_index, self._shards))
        rows = [
            (f"{shard.name}/{name}", number, *place)
            for number, (shard, index) in enumerate(zip(self._shards, found, strict=True))
            for name, place in index.images.items()
        ]
        if not rows:
            raise InputError(f"{address}: no image in {len(shards)} shards")
        rows.sort()
        self._names = [row[0] for row in rows]
        self._places = np.array([row[1:] for row in rows], np.int64)
        self._labels = {
            f"{shard.name}/{name}": label
            for shard, index in zip(self._shards, found, strict=True)
            for name, label in index.labels.items()
        }
        self.has_labels = bool(self._labels)
        self.notes = _told(found)

    @property
    def names(self) -> Sequence[str]:
        """The name of each image, sorted."""
        return self._names

    def open(self, name: str) -> BinaryIO:
        """Read a member.

        Raises:
            ImageError: it is absurdly large.
            InputError: the shard was changed since.
        """
        number, offset, size = self._place(name)
        self._require_small(size)
        content = self._shards[number].read(offset, size)
        if len(content) < size:
            raise InputError(f"{self._shards[number]}: was changed while it was read; run again")
        return io.BytesIO(content)

    def folders(self, name: str) -> tuple[str, ...]:
        """Return the folders in the member's name: a shard is no class."""
        shard = self._shards[self._place(name)[0]]
        return tuple(name[len(shard.name) + 1 :].split("/")[:-1])

    def _place(self, name: str) -> tuple[int, int, int]:
        """Return the number of the shard, and offset and size of the member in it."""
        at = bisect_left(self._names, name)
        if at == len(self._names) or self._names[at] != name:
            raise KeyError(name)
        number, offset, size = self._places[at].tolist()
        return number, offset, size

    def labels(self) -> Mapping[str, str]:
        """Return the class of each image whose sample has one."""
        return self._labels

    def fingerprint(self) -> object:
        """Return names, sizes and times of the shards."""
        return [shard.stamp() for shard in self._shards]


@dataclass
class _Index:
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Offset and size of each image."""
    labels: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def _index(shard: StoredFile) -> _Index:
    index, of_sample = _Index(), dict[str, str]()
    texts = list[tuple[str, str, bytes]]()
    with shard.reading() as read:
        for entry in entries(read, shard.size, str(shard), (".cls", ".json")):
            if entry.why_skipped:
                index.skipped[entry.why_skipped] += 1
                continue
            name = clean(entry.name)
            base = name.rpartition("/")[2]
            if not name or base.startswith("."):
                continue
            end = base[-5:].lower()
            if end.endswith((".cls", ".json")):
                texts.append((_sample_of(name), end, entry.content))
            elif has_image_suffix(base):
                if name in index.images:
                    index.skipped["an older member of the same name"] += 1
                index.images[name] = (entry.offset, entry.size)
    for key, end, content in sorted(texts, key=lambda each: each[1].endswith(".cls")):
        label = _label_of(content, is_json=end == ".json")
        if label is None:
            index.skipped["a .json without a class" if end == ".json" else "an empty .cls"] += 1
        else:
            of_sample[key] = label
    for name in index.images:
        if (key := _sample_of(name)) in of_sample:
            index.labels[name] = of_sample[key]
    return index


def _sample_of(name: str) -> str:
    """Return the name of a member up to the first dot behind its folders."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _label_of(content: bytes, *, is_json: bool) -> str | None:
    if not is_json:
        return class_name(content.decode("utf-8", "replace").strip()) or None
    try:
        document = documents.parse(content)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    found = next((document[key] for key in LABEL_KEYS if key in document), None)
    return class_name(str(found)) if isinstance(found, str | int) and found != "" else None


def _told(found: Sequence[_Index]) -> list[str]:
    total = sum((index.skipped for index in found), Counter[str]())
    return [f"left out in the shards: {count} x {why}" for why, count in sorted(total.items())]
