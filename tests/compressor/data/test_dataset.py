"""The images of a run: written down, read back, taken apart by split."""

import csv
from pathlib import Path

import pytest

from compressor.data import dataset
from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.image_files import DecodedInfo, inspect
from compressor.data.layout.listing import files_below
from image_folders import audit, ids, write
from runtime.documents import read_json
from runtime.errors import InputError
from runtime.files import write_json

NOT_AN_IMAGE = "not an image that Pillow can read"


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


def test_save_and_load__give_the_same_images(with_damage, tmp_path):
    with_damage.save(tmp_path / "run", ood={})
    read = dataset.load(tmp_path / "run")
    counts = read.counts
    assert read.image_set(with_damage.images.root) == with_damage.images
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
    read = dataset.load(tmp_path)
    loaded, counts = read.image_set(root), read.counts
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
            ["image", "used_instead", "why"],
            ["good0.png", "good twin.png", "same pixels"],
        ]


def test_save__without_findings_leaves_the_headings(flowers, tmp_path):
    audit(flowers).save(tmp_path, ood={})
    assert (tmp_path / "rejected.csv").read_text("utf-8").splitlines() == ["image,reason"]
    assert (tmp_path / "duplicates.csv").read_text("utf-8").splitlines() == [
        "image,used_instead,why"
    ]
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
    looks = {f"../ood/{path.name}": each for path, each in inspect(files_below(ood)).items()}
    assert isinstance(looks["../ood/a.png"], DecodedInfo)
    audit(root).save(tmp_path, ood=looks)
    document = read_json(tmp_path / "dataset.json")
    assert [each["id"] for each in document["ood_images"]] == ["../ood/a.png", "../ood/b.png"]
    assert document["counts"]["images"] == 2
    assert "../ood/broken.png,empty file (0 bytes)" in (tmp_path / "rejected.csv").read_text()


def test_load__without_an_audit_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"dataset.json: no such file"):
        dataset.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "test"}, r"images\[1\].split"),
        ({"width": "wide"}, r"images\[1\].width: expected int, got str 'wide'"),
    ],
)
def test_load__a_wrong_field_is_named_by_its_path(root, tmp_path, change, message):
    write(root, "1.png", "2.png")
    audit(root).save(tmp_path, ood={})
    document = read_json(tmp_path / "dataset.json")
    document["images"][1] |= change
    write_json(tmp_path / "dataset.json", document)
    with pytest.raises(InputError, match=message):
        dataset.load(tmp_path)


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
        look = inspect([path])[path]
        assert (look.pixels_sha256, look.width, look.height) == (key, photo.width, photo.height)


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
