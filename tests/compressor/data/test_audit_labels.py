"""Labels, duplicates and folders of held-out images."""

import logging

import pytest
from PIL import Image

from compressor.data.duplicates import Duplicate
from compressor.data.layout.labels import UNLABELLED
from image_folders import audit, ids, picture, write
from runtime.errors import InputError


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
