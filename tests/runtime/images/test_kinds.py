"""Which decoder sees which file: told by the content, and never one that starts a program."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from image_bytes import encoded
from runtime.errors import ImageError
from runtime.images.decode import decode
from runtime.images.kinds import KINDS, kind_of

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))
OTHERS = ["EPS", "DDS", "PCX", "SGI", "PDF", "SPIDER", "MSP"]


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.eps"])
def test_a_kind_that_is_not_listed_is_no_image_whatever_its_name(decoded, kind, name):
    modes = {"MSP": "1", "SPIDER": "F"}
    image = PICTURE.convert(modes.get(kind, "RGB"))
    with pytest.raises(ImageError, match="not an image that Pillow can read"):
        decoded(encoded(image, kind), name)


def test_no_other_decoder_is_even_loaded(tmp_path):
    """An EPS would start Ghostscript."""
    (tmp_path / "a.jpg").write_bytes(encoded(PICTURE, "EPS"))
    PICTURE.save(tmp_path / "b.jpg")
    code = (
        "import sys\nfrom pathlib import Path\nfrom runtime.images.decode import decode\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    try: decode(path)\n"
        "    except Exception as error: print(error)\n"
        "print([name for name in sys.modules if 'EpsImage' in name or 'WmfImage' in name])"
    )
    words = [sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["not an image that Pillow can read", "[]"]


FTYP = b"\0\0\0\x18ftyp%b\0\0\0\0%b"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (FTYP % (b"heic", b"mif1heic"), "HEIC"),
        (FTYP % (b"mif1", b"mif1heic"), "HEIC"),
        (FTYP % (b"mif1", b"avifmif1"), "AVIF"),
        (FTYP % (b"avif", b"mif1avif"), "AVIF"),
        (FTYP % (b"isom", b"mp42avc1"), None),  # a film
        (b"%!PS-Adobe-3.0 EPSF-3.0", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"", None),
    ],
)
def test_a_kind_is_told_by_its_first_bytes(tmp_path, head, kind):
    found = kind_of(head, ".jpg")
    assert (found.name if found else None) == kind


def test_a_heic_photo_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(FTYP % (b"heic", b"mif1heic") + bytes(100))
    with pytest.raises(ImageError, match=r"a HEIC photo, .* pip install 'edge-compressor\[heif\]'"):
        decode(path)


def test_a_heic_photo_with_the_package(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    for turned in (False, True):
        photo = pillow_heif.from_pillow(PICTURE)
        photo.info["exif"] = exif.tobytes() if turned else None
        photo.save(tmp_path / "a.heic", quality=-1, chroma=444)
        found = np.asarray(decode(tmp_path / "a.heic"), int)
        expected = np.asarray(PICTURE, int)
        assert np.abs(found - (np.rot90(expected, -1) if turned else expected)).max() <= 2
    (tmp_path / "a.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:200])
    with pytest.raises(ImageError, match=r"^damaged: "):
        decode(tmp_path / "a.heic")


def test_every_kind_has_its_decoder_in_this_pillow():
    missing = {kind.name for kind in KINDS.values() if kind.plugin} - {"AVIF"}
    for name in missing:
        __import__(f"PIL.{KINDS[name].plugin.partition('.')[0]}")
