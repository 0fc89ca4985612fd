"""COCO and YOLO data sets: classes by image, or each box as an image; mistakes are named."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from compressor.cli.app import commands
from compressor.data.image_files import open_rgb
from compressor.data.sources.opened import opened
from compressor.recipe.plan import load
from image_folders import audit, ids, picture
from refused_source import refusal
from runtime.errors import InputError


def save(folder, *names, width=40, height=30):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        picture(sum(name.encode()), width, height).save(folder / name)


@pytest.fixture
def coco(tmp_path):
    """Write annotations of four images of 40 x 30; returns the file."""

    def coco(annotations=None, place="annotations/instances_train.json", folder="train", **more):
        names = [f"{number}.png" for number in range(4)]
        save(tmp_path / folder, *names)
        boxes = annotations or [
            {"id": 7, "image_id": 0, "category_id": 1, "bbox": [10, 6, 20, 12]},
            {"id": 8, "image_id": 0, "category_id": 1, "bbox": [0, 0, 5, 5]},
            {"id": 9, "image_id": 1, "category_id": 2, "bbox": [30.5, 20, 100, 100]},
            {"id": 10, "image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9]},
            {"id": 11, "image_id": 2, "category_id": 2, "bbox": [2, 2, 9, 9]},
        ]
        document = {
            "info": {"year": 2026},
            "images": [
                {"id": n, "file_name": name, "width": 40, "height": 30, "license": 1}
                for n, name in enumerate(names)
            ],
            "annotations": boxes,
            "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}],
        } | more
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        return path

    return coco


@pytest.fixture
def yolo(tmp_path):
    """Write a data set of two parts; `{"train/a": "0 .5 .5 .5 .5"}` are files of boxes."""

    def yolo(labels=None, text="", **keys):
        save(tmp_path / "set/images/train", *(f"{n}.png" for n in "abc"))
        save(tmp_path / "set/images/val", "d.png")
        boxes = {"train/a": "0 .5 .5 .5 .4\n", "train/b": "1 .1 .1 .1 .1\n1 .9 .9 .2 .2\n"}
        for name, content in (boxes if labels is None else labels).items():
            path = tmp_path / "set/labels" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        document = {"train": "images/train", "val": "images/val", "names": ["car", "bus"], **keys}
        path = tmp_path / "set/data.yaml"
        path.write_text(text or json.dumps(document))
        return path

    return yolo


@pytest.mark.parametrize(
    ("place", "folder"),
    [
        ("annotations/instances_train.json", "train"),
        ("annotations.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("annotations/instances_val2017.json", "images/val2017"),
    ],
)
def test_the_images_of_coco_are_found_where_they_usually_lie(coco, tmp_path, place, folder):
    source = opened(coco(place=place, folder=folder))
    assert list(source.names) == ["0.png", "1.png", "2.png", "3.png"]
    assert source / "1.png" == tmp_path / folder / "1.png"


def test_the_class_of_an_image_is_that_of_all_its_boxes(coco):
    source = opened(coco())
    assert source.labels() == {"0.png": "car", "1.png": "bus"}
    assert source.notes == [
        "1 images with boxes of several classes: without a class",
        "1 images without a box",
    ]
    found = audit(source, labels="source")
    assert found.images.classes == ("bus", "car")


def test_a_crop_has_the_pixels_of_its_box(coco, tmp_path):
    source = opened(coco(), crops=True)
    assert list(source.names) == [
        "0.png/7.png",
        "0.png/8.png",
        "1.png/9.png",
        "2.png/10.png",
        "2.png/11.png",
    ]
    assert source.labels()["2.png/11.png"] == "bus"
    with Image.open(tmp_path / "train" / "0.png") as image:
        whole = np.asarray(image)
    assert np.array_equal(np.asarray(open_rgb(source / "0.png/7.png")), whole[6:18, 10:30])
    assert open_rgb(source / "1.png/9.png").size == (10, 10)  # the rest is outside
    copy = tmp_path / "copy.png"
    copy.write_bytes((source / "0.png/7.png").read_bytes())
    assert np.array_equal(np.asarray(open_rgb(copy)), whole[6:18, 10:30])
    found = audit(source, labels="source")
    assert ids(found) == list(source.names)


def test_boxes_drawn_in_an_image_that_was_not_upright_are_rejected(coco, tmp_path):
    path = coco()
    save(tmp_path / "train", "0.png", width=30, height=40)
    found = audit(opened(path, crops=True), labels="source")
    reason = "30 x 40 pixels when upright, but its boxes were drawn in 40 x 30"
    assert [(each.id, each.reason) for each in found.rejected] == [
        ("0.png/7.png", reason),
        ("0.png/8.png", reason),
    ]


def test_crowds_and_boxes_without_an_area_are_left_out_and_said(coco):
    boxes = [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 5, 5]},
        {"id": 2, "image_id": 0, "category_id": 2, "bbox": [1, 1, 0, 5]},
        {"id": 3, "image_id": 1, "category_id": 2, "bbox": [50, 1, 5, 5]},
        {"id": 4, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5], "iscrowd": 1},
    ]
    source = opened(coco(boxes))
    assert source.labels() == {"0.png": "car"}
    assert source.notes[:2] == [
        "left out: 1 boxes around a crowd (iscrowd)",
        "left out: 2 boxes without an area in their image",
    ]


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"id": 5, "image_id": 0, "category_id": 3}, "annotation 5: category 3 is not among"),
        ({"image_id": 9, "category_id": 1}, "annotation 0: image 9 is not among the images"),
        ({"image_id": 0, "category_id": 1, "bbox": [1, 2]}, "$.annotations[0].bbox"),
    ],
)
def test_a_mistake_of_coco_is_named(coco, annotation, said):
    path = coco([annotation])
    found = refusal(path)
    assert found.startswith(f"{path}: ")
    assert said in found


def test_no_box_is_lost_where_ids_are_there_twice_and_none_names_a_folder(coco):
    boxes = [
        {"id": id_, "image_id": 0, "category_id": 1 + n % 2, "bbox": [n, n, 5, 5]}
        for n, id_ in enumerate((7, 7, "../../7", 7))
    ]
    source = opened(coco(boxes), crops=True)
    assert list(source.names) == [f"0.png/{key}.png" for key in (".._.._7", "7-2", "7-3", "7")]
    assert source.labels()["0.png/7-2.png"] == "bus"


@pytest.mark.parametrize(
    ("key", "listed", "said"),
    [
        ("images", [{"id": 1, "file_name": f"{n}.png"} for n in range(2)], "the image id 1 is"),
        ("categories", [{"id": 1, "name": name} for name in "ab"], "the category id 1 is there 2"),
    ],
)
def test_one_id_of_two_is_refused(coco, key, listed, said):
    assert said in refusal(coco([{"image_id": 1, "category_id": 1}], **{key: listed}))


def test_what_is_no_coco_file_is_said(coco, tmp_path):
    path = coco()
    content = path.read_text()
    path.write_text(content[:200])
    assert "not annotations as COCO has them" in refusal(path)
    path.write_text("{}")
    assert "missing required field `images`" in refusal(path)
    path.write_text(content.replace(".png", ".jpg"))
    assert "its images (0.jpg) are in none of" in refusal(path)


def test_val_of_yolo_is_held_out_and_images_without_boxes_have_no_class(yolo):
    source = opened(yolo())
    names = ["images/train/a.png", "images/train/b.png", "images/train/c.png", "images/val/d.png"]
    assert list(source.names) == names
    assert source.labels() == {names[0]: "car", names[1]: "bus"}
    assert source.held_out() == {names[3]}
    found = audit(source, labels="source")
    assert ids(found, "holdout") == [names[3]]
    assert "the source has a split: 3 images to train on, 1 held out; data.holdout is not used" in (
        found.notes
    )


def test_a_crop_of_yolo_has_the_pixels_of_its_box(yolo, tmp_path):
    polygon = {"train/a": "1 .25 .2 .75 .2 .75 .8 .25 .8\n", "val/d": "0 .5 .5 1 1 .9\n"}
    source = opened(yolo(polygon), crops=True)
    assert source.labels() == {"images/train/a.png/1.png": "bus", "images/val/d.png/1.png": "car"}
    assert source.held_out() == {"images/val/d.png/1.png"}
    with Image.open(tmp_path / "set/images/train/a.png") as image:
        box = np.asarray(image)[6:24, 10:30]
    assert np.array_equal(np.asarray(open_rgb(source / "images/train/a.png/1.png")), box)


@pytest.mark.parametrize(
    ("keys", "places"),
    [
        ({"path": "images", "train": "train", "val": "val"}, 4),
        ({"train": ["images/train", "images/val"], "val": None}, 4),
        ({"train": "../images/train", "val": ""}, 3),
        ({"names": {0: "car", 1: "bus"}}, 4),
    ],
)
def test_the_forms_that_data_yaml_takes(yolo, keys, places):
    text = "\n".join(f"{key}: {json.dumps(value)}" for key, value in keys.items())
    rest = {"train": "images/train", "val": "images/val", "names": ["car", "bus"]}
    text += "".join(f"\n{key}: {json.dumps(rest[key])}" for key in rest if key not in keys)
    text = text.replace('{"0": "car", "1": "bus"}', "{0: car, 1: bus}")
    source = opened(yolo(text=text + "\n"))
    assert len(source.names) == places
    assert set(source.labels().values()) == {"car", "bus"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 .5 .5 .5 .5", "class 2, but data.yaml names 2 (0 to 1)"),
        ("-1 .5 .5 .5 .5", "class -1, but data.yaml names 2 (0 to 1)"),
        ("0.5 .5 .5 .5 .5", "class 0.5, but data.yaml names 2 (0 to 1)"),
        ("car .5 .5 .5 .5", "numbers are wanted, got 'car .5 .5 .5 .5'"),
        ("0 .5 .5 .5", "class, centre and size are wanted; got 4 numbers"),
        ("0 20 30 10 10", "shares of the image's width and height (0 to 1) are wanted"),
        ("0 nan .5 .5 .5", "shares of the image's width and height (0 to 1) are wanted"),
    ],
)
def test_a_wrong_line_of_boxes_is_named(yolo, tmp_path, line, said):
    path = yolo({"train/b": f"0 .5 .5 .5 .5\n{line}\n"})
    assert refusal(path) == f"{tmp_path / 'set/labels/train/b.txt'}:2: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: [", "not YAML"),
        ("names: [a]", "no keys `train` and `names`"),
        ("train: images/nowhere\nnames: [a]", "train: no such folder: "),
        ("train: images/train\nnames: {1: a}", "names: the numbers are not 0 to 0"),
        ("train: images/train\nnames: car", "names: a list of classes is wanted"),
        ("train: 5\nnames: [car]", "train: a folder is wanted, or a list of folders"),
    ],
)
def test_a_mistake_of_data_yaml_is_named(yolo, text, said):
    path = yolo(text=text + "\n")
    found = refusal(path)
    assert found.startswith(f"{path}:")
    assert said in found


def test_crops_of_images_without_boxes_are_refused(yolo, tmp_path):
    assert "data.crops is true, but there are no boxes" in refusal(yolo({}), crops=True)
    assert "boxes come with COCO's and YOLO's" in refusal(tmp_path / "set", crops=True)


def test_init_writes_a_recipe_for_both(coco, yolo, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for number, path in enumerate((coco(), yolo())):
        recipe = f"recipe-{number}.yaml"
        address = path.relative_to(tmp_path).as_posix()
        said = CliRunner().invoke(commands, ["init", address, "--recipe", recipe])
        assert said.exit_code == 0, said.output
        text = (tmp_path / recipe).read_text()
        assert f"  images: {address}\n  # crops: true" in text
        data = load(tmp_path / recipe).recipe.data
        assert (data.images, data.labels, data.crops) == (str(path), "source", False)
        assert load(tmp_path / recipe, ["data.crops=true"]).recipe.data.crops
    with pytest.raises(InputError, match=r"data\.crops: boxes come with COCO's and YOLO's"):
        load(tmp_path / "recipe-0.yaml", ["data.crops=true", "data.images=train"])
