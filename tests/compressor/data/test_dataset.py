"""The audit of a folder of real files: what is rejected, set aside, labelled and split how."""

import csv
import io
import itertools
import logging
import os
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compressor.data import dataset
from compressor.data.audit import AuditSettings, Duplicate, Rejected
from compressor.data.audit import audit as audit_folder
from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.image_files import DecodedInfo, files_below, inspect, open_rgb
from compressor.data.labels import UNLABELLED
from runtime.errors import ImageError, InputError
from runtime.files import read_json

NOT_AN_IMAGE = "not an image that Pillow can read"


def picture(seed, width=6, height=5):
    """Noise that differs from seed to seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(folder, *names, seed=None):
    """Write pictures below a folder: each another one, or the one of `seed`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(zlib.crc32(name.encode()) if seed is None else seed).save(path)


def audit(root, **options):
    given = {"labels": "none", "holdout": 0.25, "validation": 0.2, "seed": 0, **options}
    return audit_folder(root, AuditSettings(**given))


def ids(found, *splits):
    photos = found.images.part(*splits).records if splits else found.images.records
    return [photo.id for photo in photos]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


# --- which files are looked at ---------------------------------------------------------------


def test_files_below__in_depth_sorted_and_nothing_hidden(root):
    names = ["b.png", "a/z.png", "a/b/c/deep.png", "ä ö/猫.png", ".hidden.png", ".cache/x.png"]
    names += ["a/.thumbs/x.png", "a/.DS_Store"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = [path.relative_to(root).as_posix() for path in files_below(root)]
    assert found == ["a/b/c/deep.png", "a/z.png", "b.png", "ä ö/猫.png"]


def test_files_below__leaves_out_the_folders_told(root):
    for name in ("a/1.png", "a/runs/2.png", "runs/3.png", "runs-old/4.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = files_below(root, [root / "runs"])
    assert found == [root / "a/1.png", root / "a/runs/2.png", root / "runs-old/4.png"]


def test_files_below__a_folder_that_is_itself_hidden_or_told_is_still_searched(tmp_path):
    folder = tmp_path / ".photos"
    folder.mkdir()
    (folder / "1.png").touch()
    assert files_below(folder, [folder]) == [folder / "1.png"]


def test_audit__excludes_folders_that_are_no_part_of_the_task(root):
    write(root, "1.png", "runs/2.png", "ood/3.png")
    found = audit(root, exclude=[root / "runs", root / "ood"])
    assert ids(found) == ["1.png"]


@pytest.mark.parametrize("make", [True, False], ids=["empty", "missing"])
def test_audit__a_folder_without_files_is_refused(tmp_path, make):
    folder = tmp_path / "empty"
    if make:
        (folder / "only a folder").mkdir(parents=True)
        (folder / ".hidden.png").touch()
    with pytest.raises(InputError) as caught:
        audit(folder)
    assert str(caught.value) == f"{folder}: no files in this folder"


# --- bad files -------------------------------------------------------------------------------


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
        "sub/bomb.png": (bomb(20_000), "absurdly large: Image size (400000000 pixels); the limit"),
        "sub/below twice the limit.png": (bomb(10_000), "absurdly large: 10000 x 10000 pixels"),
        "ünï/猫.gif": (b"GIF89a", NOT_AN_IMAGE),
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
    found.save(tmp_path, ood=inspect(files_below(root)))
    rows = list(csv.reader((tmp_path / "rejected.csv").read_text("utf-8").splitlines()))
    assert rows[1:3] == [["caf\\xe9.png", reason], ["class\\xff/2.png", reason]]


def test_inspect__shows_its_progress_and_keeps_the_order(root):
    write(root, "b.png", "a.png")
    (root / "c.png").touch()
    shown = []

    def track(items, *, label, total):
        shown.append((label, total))
        yield from items

    looks = inspect([root / "c.png", root / "b.png", root / "a.png"], track)
    assert shown == [("decoding every image", 3)]
    assert [path.name for path in looks] == ["c.png", "b.png", "a.png"]
    assert looks[root / "c.png"] == "empty file (0 bytes)"
    assert (looks[root / "a.png"].width, looks[root / "a.png"].height) == (6, 5)


def test_open_rgb__reads_what_the_audit_found_usable(root):
    write(root, "1.png")
    assert open_rgb(root / "1.png").mode == "RGB"


def test_open_rgb__a_file_changed_since_is_an_error_with_the_way_out(root):
    (root / "1.png").touch()
    with pytest.raises(InputError, match="was usable when the images were audited") as caught:
        open_rgb(root / "1.png")
    assert not isinstance(caught.value, ImageError)
    assert str(caught.value).startswith(f"{root / '1.png'}: empty file (0 bytes)")
    assert "Run the same command again." in str(caught.value)


# --- duplicates ------------------------------------------------------------------------------


def test_duplicates__the_same_pixels_in_another_format_and_under_another_name(root):
    write(root, "b.png", "copy of b.png", "sub/b.bmp", "b.tiff", seed=1)
    write(root, "other.png", seed=2)
    found = audit(root)
    assert ids(found) == ["b.png", "other.png"]
    assert set(found.duplicates) == {
        Duplicate("b.tiff", "b.png"),
        Duplicate("copy of b.png", "b.png"),
        Duplicate("sub/b.bmp", "b.png"),
    }


def test_duplicates__pixels_are_compared_upright(root):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright = picture(1)
    upright.save(root / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(root / "stored on its side.png", exif=exif)
    found = audit(root)
    assert found.duplicates == (Duplicate("upright.png", "stored on its side.png"),)
    assert (found.images.records[0].width, found.images.records[0].height) == upright.size


def test_duplicates__equal_bytes_in_another_shape_are_another_image(root):
    Image.new("RGB", (2, 8)).save(root / "tall.png")
    Image.new("RGB", (4, 4)).save(root / "square.png")
    assert not audit(root).duplicates


@pytest.mark.parametrize("where", ["../ahead", "inside"])
def test_duplicates__one_to_train_on_is_kept_before_one_held_out(root, where):
    held = (root / where).resolve()
    write(root, "twin.png", seed=1)
    write(root, "zzz.png", seed=2)
    write(held, "twin.bmp", seed=1)
    write(held, "own.png", seed=3)
    found = audit(root, holdout=held)
    assert found.duplicates == (Duplicate(f"{where}/twin.bmp", "twin.png"),)
    assert ids(found, "holdout") == [f"{where}/own.png"]


def test_duplicates__two_classes_for_the_same_pixels_are_warned_of(root, caplog):
    write(root, "cat/1.png", "dog/1.png", seed=1)
    write(root, "cat/2.png", "cat/3.png", seed=2)
    write(root, "dog/4.png", "loose.png", seed=3)
    with caplog.at_level(logging.WARNING):
        found = audit(root, labels="folders")
    assert caplog.messages == ["same pixels, two classes: dog/1.png and cat/1.png"]
    assert ids(found) == ["cat/1.png", "cat/2.png", "dog/4.png"]


def test_duplicates__never_lie_on_both_sides_of_a_split(root):
    for number in range(30):
        write(root, f"{number}.png", f"again/{number}.bmp", seed=number)
    found = audit(root)
    keys = [set(found.images.part(split).keys) for split in ("train", "validation", "holdout")]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 30
    assert len(found.duplicates) == 30


# --- labels ----------------------------------------------------------------------------------


def test_labels__folders(root):
    write(root, "tulip/1.png", "Gänseblümchen/in depth/2.png", "loose.png", ".git/x.png")
    found = audit(root, labels="folders")
    assert found.images.classes == ("Gänseblümchen", "tulip")
    by_id = {photo.id: photo.label for photo in found.images.records}
    assert by_id == {"tulip/1.png": 1, "Gänseblümchen/in depth/2.png": 0, "loose.png": UNLABELLED}


def test_labels__a_folder_with_nothing_usable_makes_no_class(root):
    write(root, "a/1.png", "b/2.png")
    (root / "docs").mkdir()
    (root / "docs" / "readme.txt").write_text("how these were taken")
    (root / "lost").mkdir()
    (root / "lost" / "3.png").touch()
    assert audit(root, labels="folders").images.classes == ("a", "b")


def test_labels__a_csv_within_the_images_folder_is_no_bad_image(root):
    write(root, "1.png", "sub/2.png", "3.png")
    (root / "broken.png").touch()
    path = root / "labels.csv"
    path.write_text("label,image\nrose,sub/2.png\naster,1.png\n,3.png\nrose,broken.png\n")
    found = audit(root, labels=str(path))
    assert found.images.classes == ("aster", "rose")
    assert found.images.labels.tolist() == [0, UNLABELLED, 1]
    assert [each.id for each in found.rejected] == ["broken.png"]


def test_labels__a_csv_with_an_unknown_image_is_refused(root, tmp_path):
    write(root, "rose/1.png")
    path = tmp_path / "labels.csv"
    path.write_text("image,label\nrose/1.pgn,a\n")
    with pytest.raises(InputError, match=r"labels.csv:2: .* did you mean rose/1.png\?"):
        audit(root, labels=str(path))


def test_labels__none(root):
    write(root, "a/1.png", "b/2.png")
    found = audit(root, labels="none")
    assert found.images.classes == ()
    assert found.images.labels.tolist() == [UNLABELLED] * 2


# --- a holdout folder of its own -------------------------------------------------------------


@pytest.mark.parametrize("where", ["../held", "held", "../../somewhere else/held"])
def test_holdout_folder__beside_or_within_the_images_folder(tmp_path, where):
    root = tmp_path / "data" / "photos"
    held = (root / where).resolve()
    write(root, "a/1.png", "b/2.png", "a/3.png", "b/4.png")
    write(held, "b/5.png", "a/deep/6.png")
    found = audit(root, holdout=held, labels="folders", validation=0.5)
    assert ids(found, "holdout") == [f"{where}/a/deep/6.png", f"{where}/b/5.png"]
    assert found.images.part("holdout").labels.tolist() == [0, 1]
    assert found.images.classes == ("a", "b")  # the holdout folder's own name is no class
    assert len(found.images.part("train")) == len(found.images.part("validation")) == 2
    assert all(path.is_file() for path in found.images.paths)


def test_holdout_folder__that_contains_the_images_folder(tmp_path):
    write(tmp_path, "train/a/1.png", "train/b/2.png", "a/3.png", "b/4.png")
    found = audit(tmp_path / "train", holdout=tmp_path, labels="folders")
    assert found.images.classes == ("a", "b")
    assert ids(found, "holdout") == ["../a/3.png", "../b/4.png"]
    assert not found.duplicates


def test_holdout_folder__that_is_the_images_folder_is_refused(root):
    write(root, "1.png")
    with pytest.raises(InputError, match=r"both data.images and data.holdout"):
        audit(root, holdout=root)


def test_holdout_folder__its_csv_labels_use_ids_with_dots(root, tmp_path):
    write(root, "1.png")
    write(tmp_path / "held", "2.png")
    path = tmp_path / "labels.csv"
    path.write_text("image,label\n1.png,a\n../held/2.png,b\n")
    found = audit(root, holdout=tmp_path / "held", labels=str(path))
    assert {photo.id: photo.label for photo in found.images.records} == {
        "../held/2.png": 1,
        "1.png": 0,
    }


# --- split -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Three classes of 20, 10 and 6 images."""
    folder = tmp_path_factory.mktemp("flowers")
    for name, count in (("aster", 20), ("rose", 10), ("tulip", 6)):
        write(folder, *(f"{name}/{number:02d}.png" for number in range(count)))
    return folder


def by_class(found, split):
    return Counter(found.images.part(split).labels.tolist())


def test_split__is_stratified_and_its_parts_cover_all_and_are_disjoint(flowers):
    found = audit(flowers, labels="folders", holdout=0.25, validation=0.2)
    # 0.25 of 20, 10, 6 is 5, 2.5, 1.5: nine in all; of equal remainders the first is rounded up.
    assert by_class(found, "holdout") == {0: 5, 1: 3, 2: 1}
    # 0.2 of the rest, 15, 7, 5, is 3, 1.4, 1.
    assert by_class(found, "validation") == {0: 3, 1: 1, 2: 1}
    assert by_class(found, "train") == {0: 12, 1: 6, 2: 4}
    parts = [ids(found, split) for split in ("train", "validation", "holdout")]
    assert sorted(itertools.chain(*parts)) == ids(found) == sorted(ids(found))


def test_split__follows_from_the_seed(flowers):
    assert audit(flowers, seed=1) == audit(flowers, seed=1)
    held = {tuple(ids(audit(flowers, seed=seed), "holdout")) for seed in range(4)}
    assert len(held) == 4


def test_split__another_share_of_validation_leaves_the_held_out_images_alone(flowers):
    held = [ids(audit(flowers, validation=share), "holdout") for share in (0.1, 0.5)]
    assert held[0] == held[1]


def test_split__a_larger_holdout_contains_the_smaller(flowers):
    small, large = (set(ids(audit(flowers, holdout=share), "holdout")) for share in (0.1, 0.5))
    assert small < large


def test_split__does_not_take_whole_runs_of_neighbouring_names(flowers):
    found = audit(flowers, holdout=0.5)
    is_held = [photo.split == "holdout" for photo in found.images.records]
    assert len(list(itertools.groupby(is_held))) > 6


def test_split__a_folder_for_holdout_still_leaves_a_validation_part(root, tmp_path):
    write(root, *(f"{number}.png" for number in range(10)))
    write(tmp_path / "held", "11.png", "12.png")
    found = audit(root, holdout=tmp_path / "held", validation=0.3)
    counts = found.counts()
    assert (counts["train"], counts["validation"], counts["holdout"]) == (7, 3, 2)


PICTURES = [encoded(picture(seed, 3, 2)) for seed in range(16)]
FOLDERS = st.sampled_from(["", "sub/", "sub/deeper/", "ö ä/"])
STEMS = st.text("abcxyz019éß猫- ", min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(
    folders=st.lists(FOLDERS, min_size=len(PICTURES), max_size=len(PICTURES)),
    stems=st.lists(STEMS, min_size=len(PICTURES), max_size=len(PICTURES), unique=True),
    classed=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_split__depends_on_pixels_only__not_on_names_or_order(
    tmp_path_factory, folders, stems, classed, order
):
    def split_of(names, sequence):
        root = tmp_path_factory.mktemp("renamed")
        for number in sequence:
            path = root / names[number]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PICTURES[number])
        found = audit(root, labels="folders" if classed else "none", seed=3)
        return {photo.pixels_sha256: (photo.label, photo.split) for photo in found.images.records}

    plain = [f"{number}.png" for number in range(len(PICTURES))]
    odd = [f"{folder}{stem}.png" for folder, stem in zip(folders, stems, strict=True)]
    if classed:  # a class keeps its images, whatever they are called within it
        plain = [f"{'ab'[number % 2]}/{name}" for number, name in enumerate(plain)]
        odd = [f"{'ab'[number % 2]}/{name}" for number, name in enumerate(odd)]
    shuffled = list(range(len(PICTURES)))
    order.shuffle(shuffled)
    assert split_of(odd, shuffled) == split_of(plain, range(len(PICTURES)))


def test_split__depends_on_pixels_only__not_on_the_format(root, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(12):
        picture(number).save(root / f"{number}.png")
        picture(number).save(other / f"{number}.bmp")
    splits = [
        {photo.pixels_sha256: photo.split for photo in audit(folder).images.records}
        for folder in (root, other)
    ]
    assert splits[0] == splits[1]


# --- what is refused after all ---------------------------------------------------------------


def refusal(found, **limits):
    with pytest.raises(InputError) as caught:
        found.require_usable(**{"max_rejected": 1.0, "min_images": 1, **limits})
    return str(caught.value)


@pytest.fixture
def with_damage(root):
    """Ten usable images, a copy of one, six damaged ones, and two files that are no images."""
    write(root, *(f"good{number}.png" for number in range(10)))
    (root / "good twin.png").write_bytes((root / "good0.png").read_bytes())
    for number in range(6):
        (root / f"bad{number}.png").touch()
    (root / "readme.txt").write_text("about these photographs")
    (root / "list.csv").write_text("a,b")
    return audit(root)


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


# --- written down and read back --------------------------------------------------------------


def test_save_and_load__give_the_same_images(with_damage, tmp_path):
    with_damage.save(tmp_path / "run", ood={})
    loaded, counts = dataset.load(tmp_path / "run", with_damage.images.root)
    assert loaded == with_damage.images
    assert counts == with_damage.counts()
    assert counts == {
        "images": 10,
        "train": 6,
        "validation": 2,
        "holdout": 2,
        "labelled": 0,
        "classes": 0,
        "rejected": 8,
        "duplicates": 1,
    }


def test_save_and_load__classes_unicode_and_ids_with_dots(root, tmp_path):
    write(root, "Gänseblümchen/猫 1.png", "чай/2.png", "loose.png")
    write(tmp_path / "held", "чай/3.png")
    found = audit(root, labels="folders", holdout=tmp_path / "held")
    found.save(tmp_path, ood={})
    loaded, counts = dataset.load(tmp_path, root)
    assert loaded == found.images
    assert loaded.classes == ("Gänseblümchen", "чай")
    assert (counts["labelled"], counts["classes"]) == (3, 2)
    assert "猫 1.png" in (tmp_path / "dataset.json").read_text("utf-8")


def test_save__lists_the_rejected_and_the_duplicates(with_damage, tmp_path):
    with_damage.save(tmp_path, ood={})
    with (tmp_path / "rejected.csv").open(newline="", encoding="utf-8") as file:
        rejected = list(csv.reader(file))
    assert rejected[0] == ["image", "reason"]
    assert ["bad0.png", "empty file (0 bytes)"] in rejected
    assert ["readme.txt", NOT_AN_IMAGE] in rejected
    assert len(rejected) == 1 + 8
    with (tmp_path / "duplicates.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["image", "used_instead"],
            ["good0.png", "good twin.png"],
        ]


def test_save__without_findings_leaves_the_headings(flowers, tmp_path):
    audit(flowers).save(tmp_path, ood={})
    assert (tmp_path / "rejected.csv").read_text("utf-8").splitlines() == ["image,reason"]
    assert (tmp_path / "duplicates.csv").read_text("utf-8").splitlines() == ["image,used_instead"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dataset.json",
        "duplicates.csv",
        "rejected.csv",
    ]


def test_save__file_names_with_commas_quotes_and_line_ends_survive(root, tmp_path):
    names = ["a, b.png", 'say "hi".png', "two\nlines.png", "猫.png"]
    write(root, "good.png")
    for name in names:
        (root / name).touch()
    audit(root).save(tmp_path, ood={})
    with (tmp_path / "rejected.csv").open(newline="", encoding="utf-8") as file:
        assert {row["image"] for row in csv.DictReader(file)} == set(names)


def test_save__out_of_distribution_files_are_listed_by_what_was_found(root, tmp_path):
    write(root, "1.png", "2.png")
    ood = tmp_path / "ood"
    write(ood, "b.png", "a.png")
    (ood / "broken.png").touch()
    looks = inspect(files_below(ood))
    assert isinstance(looks[ood / "a.png"], DecodedInfo)
    audit(root).save(tmp_path, ood=looks)
    document = read_json(tmp_path / "dataset.json")
    assert [each["id"] for each in document["ood_images"]] == ["../ood/a.png", "../ood/b.png"]
    assert document["counts"]["images"] == 2
    assert "../ood/broken.png,empty file (0 bytes)" in (tmp_path / "rejected.csv").read_text()


def test_load__without_an_audit_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"dataset.json: no such file"):
        dataset.load(tmp_path, tmp_path)


def test_image_set__parts_paths_labels_and_keys_go_together(flowers):
    found = audit(flowers, labels="folders").images
    held = found.part("holdout")
    both = found.part("train", "validation")
    assert len(held) + len(both) == len(found) == 36
    assert held.classes == found.classes
    for photo, path, label, key in zip(
        held.records, held.paths, held.labels, held.keys, strict=True
    ):
        assert path == flowers / photo.id
        assert found.classes[label] == path.parent.name
        assert inspect([path])[path] == DecodedInfo(key, photo.width, photo.height)


def test_files_below__links_to_folders_are_followed_each_real_folder_once(tmp_path):
    real, linked = tmp_path / "elsewhere", tmp_path / "images"
    write(real, "a.png")
    linked.mkdir()
    (linked / "red").symlink_to(real, target_is_directory=True)
    (real / "round").symlink_to(linked, target_is_directory=True)
    assert files_below(linked) == [linked / "red" / "a.png"]


def test_require_usable__an_unidentifiable_file_named_like_an_image_counts_as_lost(tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(10)))
    for number in range(5):
        (tmp_path / f"broken{number}.jpg").write_bytes(b"no image at all")
    with pytest.raises(InputError, match="5 of 15 images cannot be used"):
        audit(tmp_path).require_usable(max_rejected=0.1, min_images=2)


def test_duplicates__which_twin_is_kept_does_not_depend_on_labels(tmp_path):
    """A label given later must change no embedding, so the kept one takes its twin's label."""
    photos = tmp_path / "photos"
    write(photos, "a.png", "z.png", "b.png", "c.png", "d.png")
    (photos / "z.png").write_bytes((photos / "a.png").read_bytes())
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\nz.png,red\nb.png,blue\n")
    found = audit(photos, labels=str(labels))
    assert found.duplicates == (Duplicate("z.png", "a.png"),) == audit(photos).duplicates
    labelled = {photo.id: photo.label for photo in found.images.records}
    assert (labelled["a.png"], labelled["b.png"]) == (1, 0)


def splits(found):
    return {photo.id: photo.split for photo in found.images.records}


def test_split__labels_given_one_after_the_other_move_no_image(tmp_path):
    photos, labels = tmp_path / "photos", tmp_path / "labels.csv"
    names = [f"{number}.png" for number in range(20)]
    write(photos, *names)
    before = splits(audit(photos))
    for count in (1, 9, 19):
        rows = [f"{name},{'ab'[number % 3 == 0]}" for number, name in enumerate(names[:count])]
        labels.write_text("\n".join(["image,label", *rows]))
        assert splits(audit(photos, labels=str(labels), labelling=True)) == before
        if count > 1:  # the same when the recipe no longer says that labels are being given
            assert splits(audit(photos, labels=str(labels))) == before


def test_split__the_last_label_moves_no_image_while_labelling(tmp_path):
    photos, labels = tmp_path / "photos", tmp_path / "labels.csv"
    names = [f"{number}.png" for number in range(20)]
    write(photos, *names)
    labels.write_text("\n".join(["image,label", *(f"{n},{n[0]}" for n in names)]))
    assert splits(audit(photos, labels=str(labels), labelling=True)) == splits(audit(photos))


def test_class_counts__are_told_the_rare_ones_first_to_be_kept():
    photos = [
        ImageRecord(str(n), str(n), 1, 1, label, "train") for n, label in enumerate([0, 1, 1, -1])
    ]
    few = ImageSet(Path(), ("daisy", "rose"), tuple(photos))
    assert few.class_counts() == "daisy 1, rose 2"
    photos = [ImageRecord(f"{n}", "", 1, 1, n % 40, "train") for n in range(75)]
    many = ImageSet(Path(), tuple(f"c{n}" for n in range(40)), tuple(photos))
    assert many.class_counts().endswith("and 10 more classes")
    assert ", c39 1 and" in many.class_counts()
