"""JPEG, PNG and WebP files without their metadata: only what makes pixels reaches a decoder.

Metadata are what phones, editors and cloud services write, at any size and broken in any way. They
are no reason to lose an image whose pixels are whole; only the orientation matters. Nothing is
copied: a decoder reads the file with the metadata left out.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

_MOST = 1 << 20
"""Bytes of EXIF or XMP that are looked at."""
_XMP_APP1 = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_TEXT = b"XML:com.adobe.xmp\0"
_RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_SOS, _APP0, _APP1, _APP14, _APP15, _COM = 0xDA, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
Span = tuple[int, int]
"""Offset and length in a file."""


@dataclass(frozen=True)
class Stripped:
    """A file as its decoder may see it, and the metadata that say which way up it is."""

    file: BinaryIO
    exif: bytes | None = None
    xmp: bytes | None = None


class Spans(io.RawIOBase):
    """Some parts of a file, one after the other, read as if they were a file."""

    def __init__(self, file: BinaryIO, spans: Sequence[Span]) -> None:
        self._file, self._spans = file, [span for span in spans if span[1] > 0]
        self._starts = [0]
        for _, length in self._spans:
            self._starts.append(self._starts[-1] + length)
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read up to the end of the part that the position is in."""
        if self._at >= self._starts[-1]:
            return 0
        part = bisect_right(self._starts, self._at) - 1
        offset, length = self._spans[part]
        within = self._at - self._starts[part]
        self._file.seek(offset + within)
        read = self._file.read(min(len(buffer), length - within))
        buffer[: len(read)] = read
        self._at += len(read)
        return len(read)


def strip(kind: str, file: BinaryIO) -> Stripped:
    """Return a file of a kind without its metadata; as it is where the kind has none of these."""
    size = file.seek(0, os.SEEK_END)
    if kind == "JPEG":
        return _strip_jpeg(file, size)
    if kind == "PNG":
        return _strip_png(file, size)
    found = _metadata_of_webp(file, size) if kind == "WEBP" else Stripped(file)
    file.seek(0)
    return found


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(max(0, length))


def _parts(file: BinaryIO, spans: Sequence[Span]) -> BinaryIO:
    return io.BufferedReader(Spans(file, spans), 1 << 16)


def _strip_jpeg(file: BinaryIO, size: int) -> Stripped:
    """Leave out application segments and comments before the picture (JPEG: ITU T.81, annex B).

    JFIF and Adobe's segment stay: they say which colours the components are.
    """
    spans, exif, xmp = list[Span]([(0, 2)]), None, None
    at = 2
    while True:
        head = _read(file, at, 4)
        if len(head) == 4 and head[:2] == b"\xff\xff":  # a fill byte
            at += 1
            continue
        marker = head[1] if len(head) == 4 and head[0] == 0xFF else None
        length = int.from_bytes(head[2:], "big")
        if marker is None or marker in (0, _SOS) or length < 2 or at + 2 + length > size:
            spans.append((at, size - at))  # the picture, or what only a decoder understands
            return Stripped(_parts(file, spans), exif, xmp)
        start = _read(file, at + 4, min(length - 2, 32))
        if marker == _APP1 and exif is None and start.startswith(b"Exif\0"):
            exif = _read(file, at + 4, length - 2)
        elif marker == _APP1 and xmp is None and start.startswith(_XMP_APP1):
            xmp = _read(file, at + 4, length - 2)
        if _makes_pixels(marker, start):
            spans.append((at, 2 + length))
        at += 2 + length


def _makes_pixels(marker: int, start: bytes) -> bool:
    if marker == _APP0:
        return start.startswith(b"JFIF\0") and len(start) >= 12
    if marker == _APP14:
        return start.startswith(b"Adobe") and len(start) >= 12
    return marker != _COM and not _APP0 <= marker <= _APP15


def _strip_png(file: BinaryIO, size: int) -> Stripped:
    """Leave out every chunk that makes no pixels (PNG: its specification, third edition)."""
    spans, exif, raw, xmp = list[Span]([(0, 8)]), None, None, None
    at = 8
    while at < size:
        head = _read(file, at, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or at + 12 + length > size or not kind.isalpha():
            spans.append((at, size - at))  # cut or damaged: the decoder says it
            break
        if kind in _PNG_PIXELS:
            spans.append((at, 12 + length))
        elif kind == b"eXIf":
            exif = exif or _read(file, at + 8, min(length, _MOST))
        elif kind == b"iTXt" and _read(file, at + 8, len(_XMP_TEXT)) == _XMP_TEXT:
            xmp = xmp or _international(_read(file, at + 8, min(length, _MOST)))
        elif kind == b"zTXt" and _read(file, at + 8, len(_RAW_EXIF[0])) in _RAW_EXIF:
            raw = raw or _raw_profile(_read(file, at + 8, min(length, _MOST)))
        at += 12 + length
        if kind == b"IEND":
            break
    return Stripped(_parts(file, spans), exif or raw, xmp)


def _international(text: bytes) -> bytes:
    """The text of an iTXt chunk; compressed or not, its keyword and languages do no harm."""
    flag = text[len(_XMP_TEXT) : len(_XMP_TEXT) + 1]
    if flag != b"\1":
        return text
    _, _, rest = text[len(_XMP_TEXT) + 2 :].partition(b"\0")
    return _inflated(rest.partition(b"\0")[2])


def _raw_profile(text: bytes) -> bytes | None:
    """The EXIF that ImageMagick writes as hexadecimal digits into a zTXt chunk."""
    lines = _inflated(text[len(_RAW_EXIF[0]) + 1 :]).split(b"\n", 3)
    try:
        return bytes.fromhex(lines[3].decode("ascii"))
    except (IndexError, ValueError):
        return None


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST)
    except zlib.error:
        return b""


def _metadata_of_webp(file: BinaryIO, size: int) -> Stripped:
    """Find EXIF and XMP (WebP: RFC 9649, section 2.7); libwebp itself reads none of both."""
    exif, xmp, at = None, None, 12
    while at + 8 <= size:
        kind, length = struct.unpack("<4sI", _read(file, at, 8))
        if kind == b"EXIF":
            exif = exif or _read(file, at + 8, min(length, _MOST))
        elif kind == b"XMP ":
            xmp = xmp or _read(file, at + 8, min(length, _MOST))
        at += 8 + length + length % 2
    return Stripped(file, exif, xmp)
