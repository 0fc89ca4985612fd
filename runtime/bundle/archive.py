"""Pack a bundle as one `.tar` and unpack it; nothing is written outside the given folder."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from runtime.bundle import bundle
from runtime.bundle.bundle import MAX_BYTES, MAX_FILES
from runtime.errors import InputError
from runtime.files import replacing, stays_below
from runtime.text import amount


def pack(folder: Path, path: Path) -> None:
    """Write a bundle as a tar that unpacks to one folder; the same bytes for the same bundle.

    Raises:
        InputError: the tar would lie in the bundle.
    """
    bundle.require_outside(folder, path)
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                tar.add(file, f"{folder.name}/{file.relative_to(folder).as_posix()}", filter=_plain)


def unpack(path: Path, into: Path) -> Path:
    """Unpack a tar of `pack` below a folder and verify it; the bundle's folder.

    It is made under another name first, so that a refused or interrupted one leaves nothing.

    Raises:
        InputError: it is no tar of a sound bundle, or holds what a bundle has not: links, devices,
            names that point outside, more or larger files; or its folder exists already.
    """
    try:
        _require_sound_headers(path)
        with tarfile.open(path, "r:") as tar:
            members = _members(path, tar)
            folder = into / _only_folder(path, members)
            if folder.exists() or folder.is_symlink():
                raise InputError(f"{folder}: exists already; remove it, or unpack elsewhere")
            into.mkdir(parents=True, exist_ok=True)
            # A new folder with a name that nobody knows: no link can lie in wait there.
            making = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=into))
            try:
                for member in members:
                    _write(tar, member, making / Path(*PurePosixPath(member.name).parts[1:]))
                bundle.load(making)  # a tar that was cut between two files looks whole
                making.chmod(_FOLDER_MODE)
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: not a complete tar of a bundle ({error}). Copy it again."
        ) from error
    return folder


_FOLDER_MODE = 0o755
"""Of an unpacked bundle: everybody may read it."""
_BLOCK = 512
_KINDS = frozenset(b"\x0001234567xgLK")
"""Types of entries that are looked at: files, folders, links, devices, headers of long names."""
_WITHOUT_DATA = frozenset(b"123456")
_HEADERS = frozenset(b"xgLK")
_LAYS_DOWN_SIZES = re.compile(rb"size=|sparse", re.IGNORECASE)
"""In a header of names: another size than the entry's own, which `tarfile` would follow."""
_MOST_IN_A_HEADER = 64_000
"""Bytes of a long name; a whole file could hide in it, and all of it would be read to memory."""


def _require_sound_headers(path: Path) -> None:
    """Look at every header of a tar before `tarfile` follows them.

    `tarfile` reads headers of any size to memory, and sizes below zero lead it in circles.

    Raises:
        InputError: an entry is of a kind, or of a size, that no bundle has.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(2 * MAX_FILES):
            header = file.read(_BLOCK)
            if len(header) < _BLOCK or not header.strip(b"\0"):
                return
            kind, size = header[156:157], _size_of(header[124:136])
            if kind[0] not in _KINDS:
                raise InputError(f"{path}: has an entry of a kind that no bundle has; refused")
            size = 0 if kind[0] in _WITHOUT_DATA else size
            if size is None or file.tell() + size > end:
                raise InputError(f"{path}: not a complete tar of a bundle. Copy it again.")
            start = file.tell()
            if kind[0] in _HEADERS:
                if size > _MOST_IN_A_HEADER:
                    raise InputError(f"{path}: a file name of {amount(size)}; refused")
                if _LAYS_DOWN_SIZES.search(file.read(size)):
                    raise InputError(f"{path}: lays down a size a second time; refused")
            file.seek(start - (-size // _BLOCK) * _BLOCK)
    raise InputError(f"{path}: more than {MAX_FILES:,} files, the most a bundle has")


def _size_of(field: bytes) -> int | None:
    """Return a size as tar writes it, in octal or from 8 GB on in binary; None if it is none."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        size = int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None
    return size if size >= 0 else None


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove what differs between machines: owner, time, permissions."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime, member.mode = 0, 0o644
    return member


def _members(path: Path, tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Return the members of the tar, up to the limits of a bundle.

    Raises:
        InputError: something in it is not as in a bundle.
    """
    members: list[tarfile.TarInfo] = []
    total = 0
    for member in tar:
        members.append(member)
        total += member.size
        _refuse_strange(path, member)
        if len(members) > MAX_FILES:
            raise InputError(f"{path}: more than {MAX_FILES:,} files, the most a bundle has")
        if total > MAX_BYTES:
            raise InputError(f"{path}: more than {amount(MAX_BYTES)}, the most a bundle takes")
    return members


def _refuse_strange(path: Path, member: tarfile.TarInfo) -> None:
    name = member.name
    parts = PurePosixPath(name).parts
    if not parts or not stays_below(name) or "\\" in name:
        raise InputError(f"{path}: {name!r} points outside the bundle; refused")
    if "\0" in name or any(len(part.encode(errors="surrogateescape")) > 255 for part in parts):
        raise InputError(f"{path}: {name[:60]!r}... is not a valid file name; refused")
    if not (member.isreg() or member.isdir()):
        raise InputError(f"{path}: {name!r} is a link or a device, not a plain file; refused")


def _only_folder(path: Path, members: list[tarfile.TarInfo]) -> str:
    """Return the one top folder; no file may occur twice."""
    paths = [PurePosixPath(member.name) for member in members]
    files = [each for each, member in zip(paths, members, strict=True) if member.isreg()]
    tops = sorted({each.parts[0] for each in paths})
    if len(tops) != 1 or not files or any(len(each.parts) < 2 for each in files):
        raise InputError(f"{path}: expected one folder with a bundle, found {tops[:5]}")
    taken = {parent for each in files for parent in each.parents}
    for each in files:
        if each in taken:
            raise InputError(f"{path}: {str(each)!r} is in it twice; refused")
        taken.add(each)
    return tops[0]


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is None:  # only for special files, which were refused
        raise InputError(f"{member.name}: cannot be read")
    with source, target.open("xb") as file:  # x: a name that comes twice is refused
        shutil.copyfileobj(source, file)
