"""Images that came back from devices: trained on, labelled by their own file, moving no other."""

import pytest
from PIL import Image

from compressor.data.duplicates import Duplicate
from image_folders import audit, ids, picture, write
from runtime.errors import InputError


@pytest.fixture
def place(tmp_path):
    """Twelve images in two class folders, and three that came back."""
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(6)]
    write(tmp_path / "photos", *names)
    write(tmp_path / "back" / "001", "a.png", "b.png", "c.png")
    (tmp_path / "back" / "001" / "returned.json").write_text("{}")
    return tmp_path


def look(place, labels="folders", **options):
    return audit(place / "photos", labels=labels, returned=place / "back", **options)


def label(place, *lines):
    (place / "back" / "labels.csv").write_text("\n".join(["image,label", *lines]))


def splits(found):
    return {image.id: image.split for image in found.images.records}


def labels(found):
    names = (*found.images.classes, None)
    return {image.id: names[image.label] for image in found.images.records}


def test_they_are_trained_on_and_no_other_image_moves(place):
    alone = audit(place / "photos", labels="folders")
    found = look(place)
    added = splits(found).items() - splits(alone).items()
    assert added == {(f"../back/001/{name}.png", "train") for name in "abc"}
    assert found.counts()["labelled"] == 12
    assert found.counts()["rejected"] == 0
    assert any("3 images came back from devices" in note for note in found.notes)


def test_their_labels_are_in_a_file_of_their_own_by_id_or_by_name(place):
    label(place, "../back/001/a.png,cat", "001/b.png,bird", "cat/1.png,cat")
    found = labels(look(place))
    assert found["../back/001/a.png"] == "cat"
    assert found["../back/001/b.png"] == "bird"
    assert found["../back/001/c.png"] is None


def test_without_other_labels_theirs_are_the_classes(place):
    label(place, "001/a.png,cat", "001/b.png,bird")
    found = look(place, "none")
    assert found.images.classes == ("bird", "cat")
    assert found.counts()["labelled"] == 2


def test_a_csv_of_the_task_may_name_them_too_but_not_otherwise(place):
    csv = place / "labels.csv"
    csv.write_text("image,label\ncat/1.png,cat\ndog/1.png,dog\n../back/001/a.png,cat\n")
    assert labels(look(place, str(csv)))["../back/001/a.png"] == "cat"
    label(place, "001/a.png,dog")
    with pytest.raises(InputError, match=r"a\.png: is 'cat' in .*labels\.csv, and 'dog' in"):
        look(place, str(csv))


def test_a_copy_of_an_image_of_the_task_is_set_aside_however_large(place):
    for number in range(6):
        picture(number).resize((160, 120)).save(place / "photos" / "cat" / f"{number}.png")
    whole = Image.open(place / "photos" / "cat" / "0.png")
    whole.save(place / "back" / "001" / "a.png")
    whole.resize((640, 480), Image.Resampling.BICUBIC).save(place / "back" / "001" / "b.png")
    found = look(place, "none")
    assert ids(found)[0] == "../back/001/c.png"
    assert "cat/0.png" in ids(found)
    assert set(found.duplicates) == {
        Duplicate("../back/001/a.png", "cat/0.png", "same pixels"),
        Duplicate("../back/001/b.png", "cat/0.png", "shrunken copy"),
    }


def test_a_folder_within_the_images_is_no_class(place):
    (place / "back").rename(place / "photos" / "back")
    found = audit(place / "photos", labels="folders", returned=place / "photos" / "back")
    assert found.images.classes == ("cat", "dog")
    assert len(found.images) == 15
