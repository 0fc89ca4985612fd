"""The members of a tar archive with their places, read from its headers alone.

Formats: v7, ustar, GNU long names, and the `path` and `size` of pax (POSIX.1-2001). Python's
`tarfile` reads a member in some 20 us; here it is some 4 us, and a set of a million images has two
million members.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from compressor.data.sources.stored_file import Reader
from runtime.errors import InputError

_BLOCK = 512
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"\x28\xb5": "unzstd"}
_FILES = b"\0" + b"07"
_AHEAD = 1 << 15
_ADLER = 65521
_LONGEST_KEPT = 1 << 16
_LONGEST_NAME = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of an archive."""

    name: str
    offset: int
    """Of its first byte in the archive."""
    size: int
    content: bytes = b""
    """Of the members whose content was asked for, if it is short."""
    why_skipped: str = ""
    """What it is, if it is neither a file nor a folder."""


def entries(read: Reader, size: int, archive: str, keep: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Yield the files of an archive in its order; of links and the like, why they are left out.

    Args:
        read: reads the archive.
        size: of the archive, in bytes.
        archive: its name, for messages.
        keep: ends of names of members whose content is wanted too.

    Raises:
        InputError: it is cut short, damaged, compressed, or no tar.
    """
    at, before = 0, ""
    ahead, start = b"", 0
    long_name: str | None = None
    long_size: int | None = None
    while True:
        block = ahead[at - start : at - start + _BLOCK]
        if len(block) < _BLOCK:
            ahead, start = read(at, _AHEAD), at
            block = ahead[:_BLOCK]
        if len(block) < _BLOCK or not block.strip(b"\0"):
            _require_whole(block, at, size, archive, before)
            return
        if not _is_sound(block):
            raise InputError(_damaged(block, at, archive, before))
        try:
            length = _number(block[124:136])
        except ValueError:
            raise InputError(_damaged(block, at, archive, before)) from None
        kind, offset = block[156], at + _BLOCK
        name = _text(block[:100])
        if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
            name = f"{prefix}/{name}"
        if kind in b"xL":
            if length > _LONGEST_NAME:
                raise InputError(_damaged(block, at, archive, before))
            _require_all(offset + length, size, archive, before or "its first member")
            content = read(offset, length)
            if kind == ord("L"):
                long_name = _text(content)
            else:
                long_name, long_size = _pax(content, long_name)
        else:
            name, length = long_name or name, length if long_size is None else long_size
            before, long_name, long_size = name, None, None
            if kind in _FILES and not name.endswith("/"):
                _require_all(offset + length, size, archive, name)
                content = b""
                if name[-5:].lower().endswith(keep) and length <= _LONGEST_KEPT:
                    content = ahead[offset - start : offset - start + length]
                    content = content if len(content) == length else read(offset, length)
                yield Entry(name, offset, length, content)
            elif kind in b"12":
                length = 0
                yield Entry(name, offset, 0, b"", "a link")
            elif kind not in b"05gK\0":
                if kind == ord("S"):
                    raise InputError(f"{archive}: {name} is a sparse file; write the tar without")
                yield Entry(name, offset, length, b"", "neither a file nor a folder")
        at = offset + -(-length // _BLOCK) * _BLOCK


def _is_sound(block: bytes) -> bool:
    """Whether a header has its own checksum: the sum of its bytes, those of the sum as spaces."""
    try:
        stored = _number(block[148:156])
    except ValueError:
        return False
    # Adler-32 begins with the sum of all bytes, plus one, modulo 65521; it is fifteen times as
    # fast as `sum`, and a damaged header agrees with it once in 65521 times.
    own = sum(block[148:156]) - 8 * ord(" ")
    return (zlib.adler32(block) & 0xFFFF) == (stored + own + 1) % _ADLER


def _number(field: bytes) -> int:
    """Read a number: octal digits, or for a large one its bytes after a set bit (GNU)."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    return int(digits, 8) if digits else 0


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _pax(content: bytes, name: str | None) -> tuple[str | None, int | None]:
    """Read `path` and `size` of records such as `30 path=a/b.jpg`, each with its own length."""
    size, at = None, 0
    while at < len(content):
        length, _, _ = content[at : at + 20].partition(b" ")
        if not length.isdigit() or int(length) < 4:
            break
        key, _, value = content[at : at + int(length) - 1][len(length) + 1 :].partition(b"=")
        if key == b"path":
            name = value.decode("utf-8", "backslashreplace")
        elif key == b"size" and value.isdigit():
            size = int(value)
        at += int(length)
    return name, size


def _require_all(end: int, size: int, archive: str, name: str) -> None:
    if end > size:
        raise InputError(
            f"{archive}: cut short: {name} ends at byte {end:,}, the file at {size:,}. Was it "
            "downloaded in full?"
        )


def _require_whole(block: bytes, at: int, size: int, archive: str, before: str) -> None:
    """Refuse an archive that ends without its mark, two blocks of zeros."""
    if block[:1] and len(block) == _BLOCK:
        return
    after = f" after {before}" if before else ""
    raise InputError(
        f"{archive}: cut short: it ends at byte {size:,}{after}, without a tar's end mark. Was it "
        "downloaded in full?"
        if before or not size
        else f"{archive}: not a tar archive ({size:,} bytes)"
    )


def _damaged(block: bytes, at: int, archive: str, before: str) -> str:
    if at:
        after = f", after {before}" if before else ""
        return f"{archive}: damaged at byte {at:,}{after}: no header of a member is there"
    for magic, program in _COMPRESSED.items():
        if block.startswith(magic):
            return (
                f"{archive}: compressed, and members of a compressed tar cannot be read in place.\n"
                f"  Images hardly shrink: {program} it first."
            )
    return f"{archive}: not a tar archive"
