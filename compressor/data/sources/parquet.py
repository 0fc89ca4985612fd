"""Parquet files of images, as Hugging Face's `datasets` writes them, read by row groups."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from compressor.data.layout.class_folders import class_name
from compressor.data.layout.split_folders import part_of
from compressor.data.sources.parquet_columns import columns_of
from compressor.data.sources.source import Source
from compressor.data.sources.stored_file import StoredFile
from runtime.errors import InputError, MissingDependencyError
from runtime.images.kinds import HEAD_BYTES, has_image_suffix, kind_of

_KEPT_BYTES = 400_000_000
"""Of row groups of all files that stay in memory, besides the last one read: images next to each
other are asked for one after the other."""
LARGEST_GROUP_BYTES = 1_000_000_000
_Key = tuple[str, int]
"""The name of a file and the number of a row group in it."""
_NO_CLASS = -1
"""How `datasets` writes that an image has no class."""


class ParquetImages(Source):
    """Images of Parquet files; a name is that of the file and the row: `train.parquet/0000012.jpg`.

    Files named after the parts of a split (`train-00000-of-00002`, `test-...`) are held out as
    folders of these names are.
    """

    def __init__(self, address: str, files: Sequence[StoredFile]) -> None:
        """Read file names and classes of all rows; no image.

        Raises:
            InputError: a file is damaged, or has no column of images.
            MissingDependencyError: pyarrow is missing.
        """
        super().__init__(address)
        groups = _Groups()
        tables = [_Table(file, groups) for file in files]
        self._tables, self._rows = tables, dict[str, tuple[_Table, int]]()
        self._labels: dict[str, str] = {}
        for table in tables:
            for row, (suffix, label) in enumerate(table.named()):
                name = f"{table.name}/{row:07d}{suffix}"
                self._rows[name] = (table, row)
                if label is not None:
                    self._labels[name] = label
        if not self._rows:
            raise InputError(f"{address}: no rows")
        self._names = sorted(self._rows)
        self.has_labels = bool(self._labels)
        parts = {table.name: part_of(table.name.rpartition("/")[2]) for table in tables}
        held = {name for name, part in parts.items() if part and part.part == "holdout"}
        is_split = all(parts.values()) and 0 < len(held) < len(parts)
        self._held = frozenset(
            name for name, (table, _) in self._rows.items() if is_split and table.name in held
        )
        others = sorted({other for table in tables for other in table.columns.others})
        if others:
            self.notes = [
                f"classes are those of the column {tables[0].columns.label}; there are also: "
                + ", ".join(others)
            ]

    @property
    def names(self) -> Sequence[str]:
        """The name of each image, sorted."""
        return self._names

    def open(self, name: str) -> BinaryIO:
        """Read the row group that an image is in, unless it was read a moment ago."""
        table, row = self._rows[name]
        return io.BytesIO(table.content(row))

    def folders(self, name: str) -> tuple[str, ...]:
        """Return none: files of rows are no classes."""
        return ()

    def labels(self) -> Mapping[str, str]:
        """Return the class of each image that has one."""
        return self._labels

    def held_out(self) -> frozenset[str]:
        """Return the images of files named val, test and the like, beside files named train."""
        return self._held

    def fingerprint(self) -> object:
        """Return names, sizes and times of the files."""
        return [table.file.stamp() for table in self._tables]


class _Groups:
    """The row groups that were read last, of all files together: there may be hundreds of files."""

    def __init__(self) -> None:
        self._lock, self._kept, self._bytes = threading.Lock(), OrderedDict[_Key, Any](), 0

    def get(self, key: _Key, read: Callable[[], Any]) -> Any:
        """Return a group, read now if it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        group = read()
        with self._lock:
            self._kept[key] = group
            self._bytes += group.nbytes
            while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return group


class _Table:
    """A Parquet file, read by several threads one after the other."""

    def __init__(self, file: StoredFile, groups: _Groups) -> None:
        self.file, self.name = file, file.name
        self._lock, self._groups = threading.Lock(), groups
        with _damage(file):
            self._table = _pyarrow().ParquetFile(_Bytes(file))
        self.columns = columns_of(self._table.schema_arrow, str(file))
        metadata = self._table.metadata
        found = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._ends = np.cumsum([group.num_rows for group in found]).tolist()
        largest = max((group.total_byte_size for group in found), default=0)
        if largest > LARGEST_GROUP_BYTES:
            raise InputError(
                f"{file}: a row group of {largest / 1e6:,.0f} MB, all of which is read for each "
                "image.\n  Write the file again with smaller ones, such as row_group_size=100."
            )

    def named(self) -> list[tuple[str, str | None]]:
        """Return the end of the name of each row's image, and its class."""
        wanted = [each for each in (self.columns.path, self.columns.label) if each is not None]
        with _damage(self.file):
            table = self._table.read(columns=wanted) if wanted else None
        rows = self._table.metadata.num_rows
        paths: list[object] = [None] * rows
        labels: list[object] = [None] * rows
        if table is not None and self.columns.path is not None:
            top, _, inner = self.columns.path.partition(".")
            column = table.column(top).combine_chunks()
            paths = (column.field(inner) if inner else column).to_pylist()
        if table is not None and self.columns.label is not None:
            labels = table.column(self.columns.label).to_pylist()
        usual = self._suffix() if not all(map(_has_suffix, paths)) else ""
        return [
            (f".{str(path).rpartition('.')[2]}" if _has_suffix(path) else usual, self._class(label))
            for path, label in zip(paths, labels, strict=True)
        ]

    def _class(self, label: object) -> str | None:
        if label is None or label == _NO_CLASS:
            return None
        names = self.columns.classes
        if names is None:
            return class_name(str(label))
        if not isinstance(label, int) or not 0 <= label < len(names):
            raise InputError(
                f"{self.file}: class {label!r} in the column {self.columns.label}, which has "
                f"{len(names)} names (0 to {len(names) - 1})"
            )
        return class_name(names[label])

    def _suffix(self) -> str:
        """The end of names where a file does not say them: of the first image's kind."""
        head = self.content(0)[:HEAD_BYTES] if self._ends and self._ends[-1] else b""
        kind = kind_of(head, "")
        return "" if kind is None else f".{kind.name.lower()}"

    def content(self, row: int) -> bytes:
        """Return the bytes of a row's image; none where there are none."""
        number = bisect_right(self._ends, row)
        start = self._ends[number - 1] if number else 0
        with self._lock:
            column = self._groups.get((self.name, number), lambda: self._group(number))
        found: bytes | None = column[row - start].as_py()
        return found or b""

    def _group(self, number: int) -> Any:
        top, _, inner = self.columns.content.partition(".")
        with _damage(self.file):
            table = self._table.read_row_group(number, columns=[self.columns.content])
        column = table.column(top).combine_chunks()
        return column.field(inner) if inner else column


class _Bytes(io.RawIOBase):
    """A stored file as pyarrow reads one."""

    def __init__(self, file: StoredFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = origin + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes from the position on."""
        left = max(0, self._file.size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        content = self._file.read(self._at, wanted) if wanted else b""
        self._at += len(content)
        return content


@contextmanager
def _damage(file: StoredFile) -> Iterator[None]:
    """Name the file of what pyarrow finds wrong."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file}: cannot be read as Parquet: {what[:200]}") from error


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files need one more package: pip install 'edge-compressor[parquet]'"
        ) from error
    return pyarrow.parquet


def _has_suffix(path: object) -> bool:
    return isinstance(path, str) and has_image_suffix(path)
