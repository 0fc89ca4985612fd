"""Packed bundles: other bytes, and members that no bundle has."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from random import Random

from drill import changes
from drill.bundles import contents_of
from drill.case import DONE, WRONG_INPUT, Case, Outcome
from hand_made_bundle import write_bundle
from runtime.bundle import archive

NAMES = (
    "../x", "/tmp/drill-x", "a/../../x", "bundle/../x", ".", "", "bundle", "x/y", "bundle/x\\y",
    "bundle/" + "n" * 300, "bundle/" + "d/" * 400 + "x", "bundle/\u202ex", "bundle/bundle.json",
    "bundle/golden", "bundle/.hidden", "//x", "bundle//x", "C:\\x", "bundle/a\nb",
)  # fmt: skip
ODD_TYPES = (
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
)  # fmt: skip
PAX_HEADERS = ({}, {}, {}, {"size": "99"}, {"path": "../x"}, {"comment": "x" * 70_000})
KINDS = (*b"01234567xgLKSDMNV\0A",)


class Archives:
    """A packed bundle: other bytes, or members that no bundle has."""

    name = "packed bundles"
    cpu_limit_s = 10.0
    memory_limit_mb = 400.0

    def prepare(self, folder: Path) -> None:
        """Pack a bundle."""
        (folder / "packed").mkdir()
        self.bundle = write_bundle(folder / "packed" / "bundle")
        archive.pack(self.bundle, folder / "bundle.tar")
        self.sound = (folder / "bundle.tar").read_bytes()
        self.contents = contents_of(self.bundle)

    def make(self, rng: Random, folder: Path) -> Case:
        """Change bytes, a header with its checksum, or the list of members."""
        content, change = rng.choice((changes.content, _headers, _members))(rng, self.sound)
        (folder / "x.tar").write_bytes(content)
        if rng.random() < 0.2:  # a link lies in wait
            (folder / "out").mkdir()
            (folder / "out" / "bundle").symlink_to(folder.parent)

        def judge(outcome: Outcome) -> list[str]:
            whole = (folder / "out" / "bundle").is_dir() and outcome.code == DONE
            same = whole and contents_of(folder / "out" / "bundle") == self.contents
            left = [path.name for path in folder.glob("out/.unpacking*")]
            return ["another bundle"] * (whole and not same) + [f"left {each}" for each in left]

        words = ("runtime", "unpack", "x.tar", "--into", "out")
        return Case(words, frozenset({DONE, WRONG_INPUT}), change, ("out",), judge)


def _headers(rng: Random, sound: bytes) -> tuple[bytes, str]:
    """A tar with bytes of a header changed, and its checksum right."""
    changed, said = bytearray(sound), []
    with tarfile.open(fileobj=io.BytesIO(sound)) as tar:
        starts = [member.offset for member in tar]
    for _ in range(rng.randint(1, 2)):
        at = rng.choice(starts)
        first, length = rng.choice(
            ((0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155))
        )
        name = rng.choice(NAMES).encode()
        huge = b"\x80" + bytes(max(0, length - 2)) + b"\1"
        value = rng.choice((b"", b"7" * length, b"\xff" * length, huge, name, bytes(KINDS)))
        value = bytes([rng.choice(KINDS)]) if length == 1 else value
        changed[at + first : at + first + length] = value[:length].ljust(length, b"\0")
        changed[at + 148 : at + 156] = b" " * 8
        changed[at + 148 : at + 156] = b"%06o\0 " % sum(changed[at : at + 512])
        said.append(f"header at {at}, byte {first}")
    return bytes(changed), ", ".join(said)


def _members(rng: Random, sound: bytes) -> tuple[bytes, str]:
    """A tar with other members, in other formats, or compressed."""
    file, said = io.BytesIO(), []
    kind = rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    mode = rng.choice(("w",) * 6 + ("w:gz", "w:xz"))
    with tarfile.open(fileobj=io.BytesIO(sound)) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(fileobj=file, mode=mode, format=kind) as tar:
        for _ in range(rng.randint(1, 2)):
            member, content = rng.choice(members)
            odd = tarfile.TarInfo(rng.choice((*NAMES, member.name)))
            odd.type = rng.choice((tarfile.REGTYPE,) * 3 + ODD_TYPES)
            odd.linkname = rng.choice((*NAMES, "/etc/passwd", "bundle/bundle.json"))
            odd.size = len(content) if odd.isreg() else 0
            odd.pax_headers = rng.choice(PAX_HEADERS)
            members.insert(rng.randrange(len(members) + 1), (odd, content))
            said.append(f"{odd.type!r} {odd.name[:30]}")
        if rng.random() < 0.3:
            rng.shuffle(members)
        try:
            for member, content in members:
                tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
        except ValueError:  # a name that this format cannot have
            said.append("cut")
    return file.getvalue(), ", ".join(said)
