"""The same pixels with every version of Pillow, and with metadata of every kind.

`make lowest` runs this with the oldest version that is allowed, `make newest` with the newest.
"""

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from image_bytes import chunk, encoded
from runtime.errors import ImageError
from runtime.images.decode import decode
from runtime.images.orientation import orientation_of

ODD = Path(__file__).parents[2] / "fixtures" / "odd_images"
PIXELS = json.loads((ODD / "pixels.json").read_text(encoding="utf-8"))
CAN_READ = Image.registered_extensions()  # depends on how Pillow was built
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))
JPEG, PNG = encoded(PICTURE, "JPEG", quality=95), encoded(PICTURE, "PNG")
WEBP = encoded(PICTURE, "WEBP", lossless=True)


def test_every_odd_file_is_in_the_table():
    assert sorted(PIXELS) == sorted(path.name for path in ODD.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("name", PIXELS)
def test_an_odd_file_gives_the_pixels_that_it_always_gave(name):
    if name.endswith(".avif") and ".avif" not in CAN_READ:
        with pytest.raises(ImageError, match="AVIF is not read by this Pillow: pip install"):
            decode(ODD / name)
    elif PIXELS[name].startswith("refused"):
        with pytest.raises(ImageError):
            decode(ODD / name)
    else:
        image = decode(ODD / name)
        digest = hashlib.sha256(np.asarray(image).tobytes()).hexdigest()[:16]
        assert f"{image.width}x{image.height} {digest}" == PIXELS[name]


# --- the rule of orientation -----------------------------------------------------------------


def exif(value, order="<", kind=3, tag=0x0112):
    """EXIF whose first directory has one entry, an orientation as SHORT (3) or LONG (4)."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    stored = struct.pack(f"{order}I" if kind == 4 else f"{order}HH", value, *[0][kind - 3 :])
    entry = struct.pack(f"{order}HHI", tag, kind, 1) + stored
    return head + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def xmp(value, form='tiff:Orientation="%d"'):
    return b"<x:xmpmeta><rdf:Description " + (form % value).encode() + b"/></x:xmpmeta>"


RULES = [
    # EXIF, XMP, what is upright
    (exif(6), None, 6),
    (exif(6, ">"), None, 6),
    (exif(8, kind=4), None, 8),
    (b"Exif\0\0" + exif(3), None, 3),
    (b"Exif\0\0Exif\0\0" + exif(3), None, 3),
    (None, xmp(5), 5),
    (None, xmp(7, "<tiff:Orientation>%d</tiff:Orientation>"), 7),
    (None, xmp(4, "tiff:Orientation = '%d'"), 4),
    (exif(1), xmp(6), 1),  # EXIF decides
    (exif(2, tag=0x010F), xmp(6), 6),  # it has no orientation
    (exif(0), xmp(6), 6),
    (exif(9), None, 1),
    (exif(6)[:-8], None, 1),  # cut
    (b"II*\0\xff\xff\xff\x7f", xmp(6), 6),  # a directory beyond the end
    (b"II*\0\x08\0\0\0\xff\xff", None, 1),  # 65,535 entries that are not there
    (b"garbage", None, 1),
    (None, xmp(12), 1),
    (None, None, 1),
]


@pytest.mark.parametrize(("of_exif", "of_xmp", "upright"), RULES)
def test_orientation(of_exif, of_xmp, upright):
    assert orientation_of(of_exif, of_xmp) == upright


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_metadata_break_it(of_exif, of_xmp):
    assert 1 <= orientation_of(b"II*\0" + of_exif, of_xmp) <= 8


def segment(marker, data):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def with_metadata(kind, of_exif, of_xmp):
    """The picture with EXIF and XMP where its kind of file has them."""
    if kind == "JPEG":
        found = [segment(0xE1, b"Exif\0\0" + of_exif)] if of_exif else []
        name = b"http://ns.adobe.com/xap/1.0/\0"
        found += [segment(0xE1, name + of_xmp)] if of_xmp else []
        return JPEG[:2] + b"".join(found) + JPEG[2:]
    if kind == "PNG":
        found = [chunk(b"eXIf", of_exif)] if of_exif else []
        text = b"XML:com.adobe.xmp\0\0\0\0\0"
        found += [chunk(b"iTXt", text + of_xmp)] if of_xmp else []
        return PNG[:33] + b"".join(found) + PNG[33:]
    found = [(b"EXIF", of_exif), (b"XMP ", of_xmp)]
    parts = [k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in found if d]
    flags = (8 if of_exif else 0) | (4 if of_xmp else 0)
    extended = b"VP8X" + struct.pack("<II", 10, flags) + bytes([15, 0, 0, 11, 0, 0])
    body = b"WEBP" + extended + WEBP[12:] + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("of_exif", "of_xmp", "upright"), RULES)
def test_every_kind_of_file_follows_the_same_rule(decoded, kind, of_exif, of_xmp, upright):
    stored = decoded({"JPEG": JPEG, "PNG": PNG, "WEBP": WEBP}[kind])
    turned = {
        1: lambda pixels: pixels,
        3: lambda pixels: np.rot90(pixels, 2),
        4: np.flipud,
        5: lambda pixels: pixels.swapaxes(0, 1),
        6: lambda pixels: np.rot90(pixels, -1),
        7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
        8: lambda pixels: np.rot90(pixels, 1),
    }[upright]
    assert np.array_equal(decoded(with_metadata(kind, of_exif, of_xmp)), turned(stored))


# --- huge and broken metadata ----------------------------------------------------------------


def jpeg_with(*segments):
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def png_with(*chunks):
    return PNG[:33] + b"".join(chunks) + PNG[33:]


WHOLE = {
    "a JPEG with 20 MB of extended XMP": jpeg_with(
        *[segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000))] * 310
    ),
    "broken Photoshop segment": jpeg_with(segment(0xED, b"Photoshop 3.0\0008BIM\4\4\xff\xff")),
    "broken ICC profile": jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\x09abc")),
    "broken multi-picture index": jpeg_with(segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff")),
    "short JFIF": jpeg_with(segment(0xE0, b"JFIF\0")),
    "fill bytes": JPEG[:2] + b"\xff\xff\xff" + JPEG[2:],
    "a text that unpacks to 100 MB": png_with(
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000)))
    ),
    "a profile that unpacks to 100 MB": png_with(
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000)))
    ),
    "1,000 texts": png_with(*[chunk(b"tEXt", b"a\0" + bytes(5000))] * 1000),
    "a wrong checksum of a text": png_with(chunk(b"tEXt", b"a\0b")[:-1] + b"?"),
    "chunks with nothing in them": png_with(
        *[chunk(kind, b"") for kind in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"tIME", b"eXIf")]
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_metadata_never_cost_an_image_whose_pixels_are_whole(decoded, name):
    content = WHOLE[name]
    kind = JPEG if content.startswith(b"\xff\xd8") else PNG
    assert np.array_equal(decoded(content), decoded(kind))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    marker=st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]),
    name=st.sampled_from([b"", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0"]),
    data=st.binary(max_size=300),
)
def test_any_segment_of_a_jpeg_leaves_the_picture_as_it_is(tmp_path, marker, name, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_with(segment(marker, name + data)))
    found = np.asarray(decode(path))
    assert found.size == 12 * 16 * 3
    if found.shape[0] == 12 and orientation_of(name + data, None) == 1:
        assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(JPEG))))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"pHYs", b"gAMA", b"abCd"]),
    data=st.binary(max_size=300),
    checksum=st.binary(min_size=4, max_size=4),
)
def test_any_chunk_of_a_png_leaves_the_picture_as_it_is(tmp_path, kind, data, checksum):
    path = tmp_path / "a.png"
    path.write_bytes(png_with(chunk(kind, data)[:-4] + checksum))
    if orientation_of(data, None) == 1:
        assert np.array_equal(np.asarray(decode(path)), np.asarray(PICTURE))
