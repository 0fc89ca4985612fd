"""Many images at once: folders, patterns, bad files among good ones, and how they are printed."""

import csv
import errno
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import runtime
from runtime.__main__ import main
from runtime.errors import InputError
from runtime.prediction import many


@pytest.fixture
def photos(tmp_path, sound_bundle):
    """Good images in two folders, and what lies beside them."""
    golden = sorted((sound_bundle / "golden" / "images").iterdir())
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for number, path in enumerate(golden[:3]):
        shutil.copyfile(path, folder / f"{number}.png")
    shutil.copyfile(golden[3], folder / "b" / "=1+1.png")
    shutil.copyfile(golden[3], folder / ".hidden" / "4.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def run(*words):
    return CliRunner().invoke(main, ["predict", *map(str, words)])


def test_folders_patterns_and_files_are_listed_once_and_in_order(photos):
    inside = ["0.png", "1.png", "2.png", "b/=1+1.png"]
    assert [each.below.as_posix() for each in many.find_images([photos])] == inside
    for words, names in (
        ([photos / "*.png"], ["0.png", "1.png", "2.png"]),
        ([photos / "**" / "*.png"], ["0.png", "1.png", "2.png", "=1+1.png"]),
        ([photos / "2.png", photos / "?.png"], ["2.png", "0.png", "1.png"]),
        ([photos / "notes.txt"], ["notes.txt"]),  # whatever its name
        ([photos / "nowhere.png"], ["nowhere.png"]),  # an error of its own, later
    ):
        assert [each.path.name for each in many.find_images(words)] == names


@pytest.mark.parametrize("word", ["empty", "*.png"])
def test_a_folder_or_a_pattern_without_images_is_refused(tmp_path, word):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no image lies|no file matches"):
        many.find_images([tmp_path / word])


def test_links_to_folders_are_followed_and_circles_are_not(photos, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(photos / "0.png", elsewhere / "5.png")
    (photos / "link").symlink_to(elsewhere)
    (photos / "b" / "circle").symlink_to(photos)
    inside = ["0.png", "1.png", "2.png", "b/=1+1.png", "link/5.png"]
    assert [each.below.as_posix() for each in many.find_images([photos])] == inside


def test_a_folder_that_cannot_be_read_is_no_empty_one(photos, monkeypatch):
    whole = os.scandir

    def scandir(path):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="b: this folder cannot be read: Permission denied"):
        many.find_images([photos])


def test_bad_files_are_errors_of_their_own_and_every_other_is_answered(photos, sound_bundle):
    (photos / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"cut short")
    student = runtime.load(sound_bundle)
    images = many.find_images([photos, photos / "gone.png"])
    found = list(many.predict(student, images * 20))  # more than a batch
    assert [answer.path for answer in found] == [each.path for each in images * 20]
    for answer in found:
        bad = answer.path.name in ("1.png", "gone.png")
        assert (answer.prediction is None) is bad
        assert (str(answer.path) in answer.error) is bad
    (alone,) = student.predict(photos / "2.png")
    assert found[2].prediction.label == alone.label
    assert np.allclose(found[2].prediction.embedding, alone.embedding, atol=1e-5)


def test_an_answer_that_cannot_be_used_costs_only_its_own_image(photos, sound_bundle, monkeypatch):
    student = runtime.load(sound_bundle)
    whole = student.predict_pixels
    blue = student.pixels(photos / "2.png")

    def predict_pixels(pixels):
        if any(np.array_equal(each, blue) for each in pixels):
            raise InputError("the student's embedding cannot be used")
        return whole(pixels)

    monkeypatch.setattr(student, "predict_pixels", predict_pixels)
    images = [each for each in many.find_images([photos]) if each.path.parent == photos]
    errors = [answer.error for answer in many.predict(student, images)]
    assert errors == ["", "", f"{photos / '2.png'}: the student's embedding cannot be used"]


def test_the_command_goes_on_and_ends_with_exit_code_2(photos, sound_bundle):
    (photos / "1.png").write_bytes(b"no image")
    done = run(sound_bundle, photos, "--json")
    assert done.exit_code == 2
    document = json.loads(done.stdout)
    assert [("error" in each, "label" in each) for each in document] == [
        (False, True), (True, False), (False, True), (False, True),
    ]  # fmt: skip
    assert f"error: {photos / '1.png'}" in done.stderr
    assert "1 of 4 images could not be predicted" in done.stderr
    table = run(sound_bundle, photos)
    assert table.exit_code == 2
    assert len(table.stdout.splitlines()) == 2 + 3
    (photos / "1.png").unlink()
    assert run(sound_bundle, photos).exit_code == 0


def test_a_csv_has_a_line_for_each_image_that_no_spreadsheet_computes(photos, sound_bundle):
    (photos / "1.png").write_bytes(b"no image")
    done = run(sound_bundle, photos, "--csv", "--nearest", 1)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert {row["is_outlier"] for row in rows} <= {"true", "false", ""}
    answer = runtime.load(sound_bundle).predict(photos / "0.png")[0]
    assert rows[0]["label"] == answer.label
    assert float(rows[0]["confidence"]) == pytest.approx(answer.confidence, abs=1e-5)
    assert rows[0]["nearest"] == answer.nearest[0].image
    assert run(sound_bundle, photos, "--csv", "--json").exit_code == 2


def test_copies_have_the_answer_on_them_and_originals_stay(photos, sound_bundle, tmp_path):
    for number in range(3):
        Image.new("RGB", (320, 240), (200, 200, 200)).save(photos / f"{number}.png")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    done = run(sound_bundle, photos, "--annotate", tmp_path / "out")
    assert done.exit_code == 0, done.output
    copies = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert [path.as_posix() for path in copies] == [
        "0.png.jpg", "1.png.jpg", "2.png.jpg", "b/=1+1.png.jpg",
    ]  # fmt: skip
    with Image.open(tmp_path / "out" / "0.png.jpg") as copy:
        assert copy.size == (320, 240)
        corner, far = copy.getpixel((2, 2)), copy.getpixel((300, 200))
    assert abs(np.subtract(corner, 200)).max() > 50
    assert abs(np.subtract(far, 200)).max() < 5
    assert before == {path: path.read_bytes() for path in photos.rglob("*.png")}
    within = run(sound_bundle, photos / "0.png", "--annotate", sound_bundle / "new")
    assert "lies in the bundle" in str(within.exception)
    refused = run(sound_bundle, photos / "0.png", "--annotate", photos / "b")
    assert refused.exit_code == 2 or isinstance(refused.exception, InputError)
    assert not (photos / "b" / "0.png.jpg").exists()


def test_copies_of_equal_names_are_all_kept(photos, sound_bundle, tmp_path):
    shutil.copytree(photos, tmp_path / "others")
    done = run(sound_bundle, photos, tmp_path / "others", "--annotate", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert len([path for path in (tmp_path / "out").rglob("*.jpg")]) == 8


def test_a_file_that_is_gone_before_it_is_copied_costs_only_its_copy(
    photos, sound_bundle, tmp_path, monkeypatch
):
    annotate = many.annotate

    def late(answer, folder):
        if answer.path.name == "1.png":
            answer.path.unlink()
        return annotate(answer, folder)

    monkeypatch.setattr(many, "annotate", late)
    done = run(sound_bundle, photos, "--annotate", tmp_path / "out")
    assert done.exit_code == 2
    assert f"error: no copy of {photos / '1.png'}: cannot be read" in done.stderr
    assert len(done.stdout.splitlines()) == 2 + 4
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 3
