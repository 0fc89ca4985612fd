"""Files that cannot be used: each is named with its reason; too many are refused."""

import csv
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from compressor.data.audit import Rejected
from compressor.data.image_files import inspect
from compressor.data.layout.listing import files_below
from image_folders import audit, encoded, ids, picture, write
from runtime.errors import InputError

NOT_AN_IMAGE = "not an image that Pillow can read"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side):
    """A PNG of a few bytes that claims side x side pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def fill_with_bad_files(root):
    """One of each kind, and the beginning of the reason to be given."""
    jpeg, png = encoded(picture(1, 64, 48), "JPEG"), encoded(picture(2, 64, 48))
    contents = {
        "empty.jpg": (b"", "empty file (0 bytes)"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "damaged: image file is truncated"),
        "half.png": (png[: len(png) // 2], "damaged: image file is truncated"),
        "really text.jpg": (b"this is no photograph\n", NOT_AN_IMAGE),
        "sub/notes.txt": (b"remember the milk\n", NOT_AN_IMAGE),
        "sub/bomb.png": (bomb(20_000), "absurdly large: 20000 x 20000 pixels; the limit"),
        "sub/just above the limit.png": (bomb(16_001), "absurdly large: 16001 x 16001 pixels"),
        "ünï/猫.gif": (b"GIF89a", "damaged: its header cannot be read as GIF"),
    }
    for name, (content, _) in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    Image.new("F", (4, 4)).save(root / "depth.tiff")
    (root / "link.jpg").symlink_to("nowhere.jpg")
    return {name: reason for name, (_, reason) in contents.items()} | {
        "depth.tiff": "32-bit float pixels have no agreed range",
        "link.jpg": "cannot be read: No such file or directory",
    }


def test_audit__names_every_bad_file_with_its_reason_and_keeps_the_good(root):
    expected = fill_with_bad_files(root)
    write(root, "good.png", "sub/good too.png")
    found = audit(root)
    reasons = {each.id: each.reason for each in found.rejected}
    assert set(reasons) == set(expected)
    for name, reason in expected.items():
        assert reasons[name].startswith(reason)
        assert str(root) not in reasons[name]
    assert ids(found) == ["good.png", "sub/good too.png"]


def test_audit__bad_files_in_the_holdout_folder_are_named_as_well(tmp_path, root):
    write(root, "1.png")
    held = tmp_path / "held"
    held.mkdir()
    (held / "empty.png").touch()
    found = audit(root, holdout=held)
    assert found.rejected == (Rejected("../held/empty.png", "empty file (0 bytes)"),)


def test_audit__a_file_name_that_is_not_utf_8_is_rejected_and_can_be_written_down(root, tmp_path):
    write(root, "1.png")
    good = (root / "1.png").read_bytes()
    for name in (b"caf\xe9.png", b"class\xff/2.png"):
        path = Path(os.fsdecode(os.fsencode(root) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(good)
    found = audit(root)
    reason = "its name or path is not UTF-8: rename it"
    assert set(found.rejected) == {
        Rejected("caf\\xe9.png", reason),
        Rejected("class\\xff/2.png", reason),
    }
    looks = inspect(files_below(root)).values()
    found.save(tmp_path, ood={f"ood/{number}.png": look for number, look in enumerate(looks)})
    rows = list(csv.reader((tmp_path / "rejected.csv").read_text("utf-8").splitlines()))
    assert rows[1:3] == [["caf\\xe9.png", reason], ["class\\xff/2.png", reason]]


def refusal(found, **limits):
    with pytest.raises(InputError) as caught:
        found.require_usable(**{"max_rejected": 1.0, "min_images": 1, **limits})
    return str(caught.value)


def test_require_usable__a_sound_folder_passes(flowers):
    audit(flowers, labels="folders").require_usable(max_rejected=0.0, min_images=36)


def test_require_usable__too_many_damaged_images_are_refused_with_the_first_reasons(with_damage):
    root = with_damage.images.root
    lines = refusal(with_damage, max_rejected=0.3).splitlines()
    assert lines[0] == (f"{root}: 6 of 17 images cannot be used (35%; data.max_rejected is 30%)")
    assert lines[1:6] == [f"  bad{number}.png: empty file (0 bytes)" for number in range(5)]
    assert lines[6] == (
        "  All are in rejected.csv. Repair or remove them, or raise data.max_rejected."
    )


def test_require_usable__the_exact_share_passes__and_other_files_do_not_count(
    with_damage,
):
    assert len(with_damage.rejected) == 8
    with_damage.require_usable(max_rejected=6 / 17, min_images=10)


def test_require_usable__a_folder_full_of_other_files_is_not_full_of_damaged_images(root):
    write(root, *(f"{number}.png" for number in range(8)))
    for number in range(20):
        (root / f"{number}.txt").write_text("a caption")
    audit(root).require_usable(max_rejected=0.0, min_images=8)


def test_require_usable__a_training_split_too_small_for_a_batch_is_refused(flowers):
    found = audit(flowers, labels="none", validation=0.95)
    assert 0 < len(found.images.part("train")) < 3
    with pytest.raises(InputError, match=r"too few for the train split, .*distill\.validation"):
        found.require_usable(max_rejected=1.0, min_images=1)


def test_require_usable__too_few_usable_images_are_refused(with_damage):
    assert refusal(with_damage, min_images=11) == (
        f"{with_damage.images.root}: 10 usable images; at least 11 are needed (data.min_images). "
        "8 files were rejected (rejected.csv says why), 1 are duplicates."
    )


def test_require_usable__nothing_usable_at_all_is_refused(root):
    (root / "notes.txt").write_text("no image far and wide")
    assert "0 usable images; at least 8 are needed" in refusal(audit(root), min_images=8)


def test_require_usable__an_empty_part_is_refused(root, tmp_path):
    write(root, *(f"{number}.png" for number in range(9)))
    empty = tmp_path / "held"
    empty.mkdir()
    message = f"{root}: no image is left for the {{}} split; add images"
    assert refusal(audit(root, holdout=empty)) == message.format("holdout")
    assert refusal(audit(root, validation=0.01)) == message.format("validation")


def test_require_usable__an_unidentifiable_file_named_like_an_image_counts_as_lost(tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(10)))
    for number in range(5):
        (tmp_path / f"broken{number}.jpg").write_bytes(b"no image at all")
    with pytest.raises(InputError, match="5 of 15 images cannot be used"):
        audit(tmp_path).require_usable(max_rejected=0.1, min_images=2)
