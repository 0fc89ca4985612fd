"""Image files: any bytes, headers, metadata. An audit sets them aside, a prediction names them."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from drill import changes
from drill.case import DONE, WRONG_INPUT, Case, Outcome
from hand_made_bundle import write_bundle
from image_bytes import chunk, encoded
from runtime.backends.limits import require_answer
from runtime.bundle import bundle as bundles

ODD = Path(__file__).parents[2] / "fixtures" / "odd_images"
SIDES = (0, 1, 2, 255, 256, 1_000, 5_000, 16_000, 16_001, 65_535, 2**31 - 1, 2**31, 2**32 - 1)


class Images:
    """One changed image among sound ones."""

    name = "images"
    cpu_limit_s = 20.0
    memory_limit_mb = 1_500.0

    def prepare(self, folder: Path) -> None:
        """Read the odd images of the tests, draw others, and make a bundle to predict with."""
        self.sound = [
            path.read_bytes() for path in sorted(ODD.glob("*.*")) if path.suffix != ".json"
        ]
        noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
        picture = Image.fromarray(noise)
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "a picture"
        self.sound += [
            encoded(picture, "JPEG", exif=exif, icc_profile=noise.tobytes()[:3_000], comment=b"x"),
            encoded(picture, "JPEG", progressive=True, subsampling=2),
            encoded(picture, "PNG", exif=exif, icc_profile=noise.tobytes()[:3_000]),
            encoded(picture, "WEBP", exif=exif.tobytes(), lossless=True),
            encoded(picture, "TIFF", compression="tiff_adobe_deflate", exif=exif),
            encoded(picture, "GIF", save_all=True, append_images=[picture.rotate(90)]),
            encoded(picture, "BMP"),
            encoded(picture, "PPM"),
        ]
        self.folder = folder / "images"
        self.folder.mkdir()
        for number in range(3):
            Image.fromarray(noise // (number + 1)).save(self.folder / f"{number}.png")
        self.bundle = write_bundle(folder / "bundle")
        bundle = bundles.load(self.bundle)
        require_answer(bundle.recommended.path, bundle.preprocess.size_px)

    def make(self, rng: Random, folder: Path) -> Case:
        """Change one image in one of several ways."""
        sound = rng.choice(self.sound)
        changed, change = rng.choice((_any, _any, _structured, _structured, _spliced))(
            rng, sound, self.sound
        )
        name = "changed" + rng.choice((".jpg", ".png", ".tif", ".webp", ".JPEG", ".bmp", ".gif"))
        if rng.random() < 0.5:
            shutil.copytree(self.folder, folder / "images")
            (folder / "images" / name).write_bytes(changed)
            words = ("compressor", "audit", "images", "--json")
            return Case(words, frozenset({DONE}), change, judge=_judge_audit)
        (folder / name).write_bytes(changed)
        words = ("runtime", "predict", str(self.bundle), name, "--json")
        return Case(words, frozenset({DONE, WRONG_INPUT}), change, judge=_judge_prediction)


def _judge_audit(outcome: Outcome) -> list[str]:
    """Three images are sound; of the fourth it is said what is wrong with it, if something is."""
    found = json.loads(outcome.out)
    counts, reasons = found["counts"], [each["reason"] for each in found["rejected"]]
    total = counts["images"] + counts["rejected"] + counts["duplicates"]
    wrong = [] if total == 4 or counts["images"] == 3 else [f"counts {counts}"]
    if any(reason.strip() in ("", "damaged:") for reason in reasons):
        wrong.append("no reason")
    return wrong


def _judge_prediction(outcome: Outcome) -> list[str]:
    if outcome.code == WRONG_INPUT:
        return [] if "changed" in outcome.err + outcome.out else ["the image is not named"]
    (found,) = json.loads(outcome.out)
    return [] if found["label"] in ("red", "blue") else [f"label {found['label']}"]


# --- ways to change an image -----------------------------------------------------------------


def _any(rng: Random, sound: bytes, others: list[bytes]) -> tuple[bytes, str]:
    return changes.content(rng, sound)


def _spliced(rng: Random, sound: bytes, others: list[bytes]) -> tuple[bytes, str]:
    """The beginning of one image and the end of another."""
    other = rng.choice(others)
    return sound[: rng.randrange(len(sound))] + other[rng.randrange(len(other)) :], "spliced"


def _structured(rng: Random, sound: bytes, others: list[bytes]) -> tuple[bytes, str]:
    """A change that its format's own checks do not see."""
    if sound.startswith(b"\x89PNG"):
        return _png(rng, sound)
    if sound.startswith(b"\xff\xd8"):
        return _jpeg(rng, sound)
    if sound[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(rng, sound)
    changed = bytearray(sound)
    at = rng.randrange(4, min(64, len(sound)))
    changed[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(SIDES))
    return bytes(changed), f"header at {at}"


def _png(rng: Random, sound: bytes) -> tuple[bytes, str]:
    """A PNG with a chunk that is changed, there twice, or new; all its checksums are right."""
    chunks, at = [], 8
    while at + 8 <= len(sound):
        (length,) = struct.unpack(">I", sound[at : at + 4])
        chunks.append((sound[at + 4 : at + 8], sound[at + 8 : at + 8 + length]))
        at += 12 + length
    number = rng.randrange(len(chunks))
    kind, data = chunks[number]
    way = rng.choice(("size", "change", "change", "twice", "remove", "bomb", "swap"))
    if way == "size":
        kind, data = chunks[0]
        sides = struct.pack(">II", rng.choice(SIDES), rng.choice(SIDES))
        chunks[0] = kind, sides + bytes(rng.choice((old, rng.randrange(17))) for old in data[8:])
    elif way == "change":
        chunks[number] = kind, changes.content(rng, data)[0]
    elif way == "twice":
        chunks.insert(number, chunks[number])
    elif way == "remove":
        del chunks[number]
    elif way == "bomb":
        zeros = zlib.compress(bytes(30_000_000))
        kind = rng.choice((b"zTXt", b"iCCP", b"iTXt"))
        text = b"\0\1\0\0\0" if kind == b"iTXt" else b"\0\0"
        chunks.insert(1, (kind, b"name" + text + zeros))
    else:
        other = rng.randrange(len(chunks))
        chunks[number], chunks[other] = chunks[other], chunks[number]
    name = kind.decode("ascii", "replace")
    return sound[:8] + b"".join(chunk(*each) for each in chunks), f"PNG {way} {name}"


def _jpeg(rng: Random, sound: bytes) -> tuple[bytes, str]:
    """A JPEG with another size, or with a segment that is changed, there twice, or new."""
    segments, at = [], 2
    while sound[at : at + 1] == b"\xff" and sound[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", sound[at + 2 : at + 4])
        segments.append((sound[at + 1], sound[at + 4 : at + 2 + length]))
        at += 2 + length
    rest = sound[at:]
    number = rng.randrange(len(segments))
    kind, data = segments[number]
    way = rng.choice(("size", "change", "change", "twice", "remove", "metadata"))
    if way == "size":
        number = next((n for n, each in enumerate(segments) if each[0] in (0xC0, 0xC2)), number)
        kind, data = segments[number]
        sides = struct.pack(">HH", *(rng.choice(SIDES) & 0xFFFF for _ in "ab"))
        segments[number] = kind, data[:1] + sides + data[5:]
    elif way == "change":
        segments[number] = kind, changes.content(rng, data)[0][:65_000]
    elif way == "twice":
        segments[number:number] = segments[number : number + 1] * rng.choice((1, 50))
    elif way == "remove":
        del segments[number]
    else:
        start = rng.choice(
            (b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0")
        )
        tiff = io.BytesIO()
        Image.new("L", (1, 1)).save(tiff, "TIFF")
        kind = 0xE2 if start[:3] in (b"ICC", b"MPF") else 0xE1
        segments.insert(0, (kind, start + changes.content(rng, tiff.getvalue())[0][:60_000]))
    made = b"".join(
        bytes((0xFF, kind)) + struct.pack(">H", len(data) + 2) + data for kind, data in segments
    )
    return sound[:2] + made + rest, f"JPEG {way} {kind:x}"


def _tiff(rng: Random, sound: bytes) -> tuple[bytes, str]:
    """A TIFF with an entry of its first directory changed."""
    order = "<" if sound[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", sound[4:8])
    (count,) = struct.unpack(order + "H", sound[start : start + 2])
    at = start + 2 + 12 * rng.randrange(count)
    tag, kind, length, value = struct.unpack(order + "HHII", sound[at : at + 12])
    part = rng.choice(("tag", "kind", "length", "value", "value"))
    tag = (
        rng.choice((254, 256, 257, 258, 259, 262, 273, 277, 317, 320, 330, 34665))
        if part == "tag"
        else tag
    )
    kind = rng.randrange(20) if part == "kind" else kind
    length = rng.choice(SIDES) if part == "length" else length
    value = rng.choice(SIDES) if part == "value" else value
    changed = struct.pack(order + "HHII", tag, kind, length, value)
    return sound[:at] + changed + sound[at + 12 :], f"TIFF {part} {tag}"
