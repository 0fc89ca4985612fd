"""Every command names classes and counts before anything slow: a mistake shows at once."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from compressor.cli import app


@pytest.fixture
def say(project, monkeypatch, capfd):
    """Type a command; exit code, stdout, stderr. No student has weights, so no hub is asked."""

    def say(*words):
        monkeypatch.setattr(sys, "argv", ["compressor", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        return ended.value.code, *capfd.readouterr()

    return say


@pytest.fixture
def divided(project):
    """The project's images in train/ and val/."""
    for name in ("blue", "red"):
        for part, numbers in (("train", range(16)), ("val", range(16, 24))):
            folder = project.images / part / name
            folder.mkdir(parents=True)
            for number in numbers:
                shutil.move(project.images / name / f"{number:02d}.png", folder)
        (project.images / name).rmdir()
    return project


@pytest.fixture
def nested(project):
    """The project's images in kinds of each class."""
    for name in ("blue", "red"):
        for number, path in enumerate(sorted((project.images / name).iterdir())):
            folder = project.images / name / f"{'light' if number % 2 else 'dark'} {name}"
            folder.mkdir(exist_ok=True)
            shutil.move(path, folder)
    return project


SPLIT = "the folders are a split: train/ to train on (32 files), val/ held out (16 files)"
COUNTS = "48 image files, by folders 2 classes (to train on + held out): blue 16 + 8, red 16 + 8"


def test_init_and_audit_say_how_many_images_a_run_needs(project, say):
    assert "a run needs" not in say("init", "images", "--recipe", "mine.yaml")[2]
    for path in sorted((project.images / "blue").iterdir())[:9]:
        path.unlink()
    needed = "a run needs 40 usable images (data.min_images)"
    assert f"39 files: {needed}" in say("init", "images", "--recipe", "few.yaml")[2]
    assert needed in say("audit", "images")[2]


def test_init_names_classes_and_split(divided, say):
    code, _, err = say("init", "images", "--recipe", "mine.yaml")
    written = (divided.folder / "mine.yaml").read_text()
    assert code == 0
    for text in (err, written):
        assert COUNTS in text
        assert SPLIT in text
    assert "split_folders: auto" in written


def test_audit_names_classes_and_split(divided, say):
    code, out, err = say("audit", "images")
    assert code == 0
    assert COUNTS in err
    assert SPLIT in err
    assert out.splitlines()[-1] == "blue 24, red 24"


def test_audit_json_has_the_counts_of_each_class(divided, say):
    document = json.loads(say("audit", "images", "--json")[1])
    assert document["labels"] == "folders"
    assert {name: each["holdout"] for name, each in document["classes"].items()} == {
        "blue": 8, "red": 8
    }  # fmt: skip
    assert document["counts"]["holdout"] == 16
    assert document["notes"][0].startswith(SPLIT)


def test_a_dry_run_names_classes_and_split(divided, say):
    code, out, _ = say("run", "recipe.yaml", "--dry-run")
    assert code == 0
    assert f"images: {COUNTS}\n  {SPLIT}" in out
    document = json.loads(say("run", "recipe.yaml", "--dry-run", "--json")[1])
    assert document["classes"] == {
        "blue": {"train": 16, "holdout": 8}, "red": {"train": 16, "holdout": 8}
    }  # fmt: skip
    assert document["images"][0] == f"images: {COUNTS}"
    assert document["estimate"]["images"] == 29  # 32 less a tenth that chooses


@pytest.mark.slow
def test_a_run_names_them_first_and_the_report_has_the_counts(divided, say):
    _, out, err = say("run", "recipe.yaml", "--json")
    assert err.splitlines()[:2] == [f"images: {COUNTS}", f"  {SPLIT}; data.holdout is not used"]
    classes = json.loads(out)["data"]["classes"]
    assert {name: (sum(each.values()), each["holdout"]) for name, each in classes.items()} == {
        "blue": (24, 8), "red": (24, 8)
    }  # fmt: skip
    document = json.loads((divided.folder / "runs/tiny/dataset.json").read_text())
    assert document["classes"] == ["blue", "red"]
    held = {each["id"].split("/")[0] for each in document["images"] if each["split"] == "holdout"}
    assert held == {"val"}


def test_nested_classes_stop_a_run_with_the_choices(nested, refused):
    message = refused("run", "recipe.yaml")
    assert "data.class_level: 1 gives 2 classes: blue 24, red 24" in message
    assert "data.class_level: 2 gives 4 classes: dark blue 12, dark red 12, light blue" in message
    assert "--set data.class_level=2" in message
    assert refused("run", "recipe.yaml", "--dry-run") == message


def test_init_proposes_a_level_and_writes_it(nested, say):
    say("init", "images", "--recipe", "mine.yaml")
    written = (nested.folder / "mine.yaml").read_text()
    assert "\n  class_level: 2\n" in written
    assert "  # 48 image files, by folders 4 classes: dark blue 12" in written
    assert "data.class_level: 1 gives 2 classes: blue 24, red 24" in written


@pytest.mark.parametrize(("level", "count"), [(1, 2), (2, 4)])
def test_the_level_that_is_told_is_taken(nested, say, level, count):
    words = ("run", "recipe.yaml", "--dry-run", "--json", "--set", f"data.class_level={level}")
    assert len(json.loads(say(*words)[1])["classes"]) == count


def test_service_folders_are_said(project, say):
    thumb = project.images / "blue" / "@eaDir" / "00.png" / "SYNOPHOTO_THUMB_M.jpg"
    thumb.parent.mkdir(parents=True)
    shutil.copy(project.images / "blue" / "00.png", thumb)
    _, out, err = say("audit", "images")
    assert "left out: 1 files in service folders (@eaDir 1)" in err
    assert "48 usable images, 0 files rejected, 0 duplicates, 2 classes" in out


def test_a_class_whose_images_are_all_damaged_is_said(project, say):
    (project.images / "green").mkdir()
    (project.images / "green" / "1.png").write_bytes(b"\x89PNG\r\n")
    _, out, err = say("audit", "images")
    assert "green 1" in err
    assert "class      green has no usable image" in out


def test_twelve_bits_in_sixteen_are_said(project, say):
    values = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 4  # up to 4,092
    Image.fromarray(values).save(project.images / "blue" / "12 bits.png")
    Image.fromarray(values * 16).save(project.images / "blue" / "16 bits.png")
    _, out, _ = say("audit", "images")
    assert "black      blue/12 bits.png is nearly black" in out
    assert "16 bits" not in out
    assert json.loads(say("audit", "images", "--json")[1])["nearly_black"] == ["blue/12 bits.png"]
