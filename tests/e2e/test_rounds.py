"""A student is deployed, a monitor keeps images, they come back: the next round of labels."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import runtime
from runtime.monitoring import kept_images
from runtime.monitoring import monitor as monitors

pytest.importorskip("openTSNE")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """30 images that a device sees: green ones, which the student never saw, among red ones."""
    folder, rng = tmp_path_factory.mktemp("seen"), np.random.default_rng(5)
    for number in range(30):
        pixels = rng.integers(0, 128, (32, 32, 3), np.uint8)
        pixels[..., 1 if number % 2 else 0] += 100
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(autouse=True)
def small_rounds(tmp_path, monkeypatch):
    """In a folder of its own; few images are enough for a monitor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(monitors, "FEWEST", 2)
    monkeypatch.setattr(monitors, "WINDOW", 10)
    monkeypatch.setattr(kept_images, "ALIKE", 2.0)  # to a student of one epoch all are alike


def at_work(bundle, seen, folder):
    """A device that watches what it sees."""
    student = runtime.load(bundle)
    monitor = runtime.Monitor(student, folder)
    for path in sorted(seen.iterdir()):
        (prediction,) = student.predict(path)
        monitor.see(prediction, path)
    return sorted(path.name for path in (folder / "kept").glob("*.png"))


def listed(place):
    with (place / "runs/tiny/to_label.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def labelled(place, path):
    """What the label page downloads: every image of the list with a class."""
    rows = listed(place)
    asked = [row["image"] for row in rows if row["rank"] and not row["label"]]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label"))
        writer.writerows((row["image"], row["label"] or "green") for row in rows)
    return asked


def test_images_of_a_device_become_the_next_round(tmp_path, write_recipe, go, seen):
    write_recipe()
    code, _, err = go("run", "recipe.yaml")
    assert code == 0, err
    before = json.loads((tmp_path / "runs/tiny/report.json").read_text())
    (first,) = before["rounds"]
    assert (first["round"], first["images"], first["labels"], first["returned"]) == (1, 36, 36, 0)
    device = tmp_path / "device"
    kept = at_work(tmp_path / "runs/tiny/bundle", seen, device)
    assert len(kept) > 4
    untouched = {path: path.read_bytes() for path in device.rglob("*") if path.is_file()}

    # Half of an image, a file without a note, a note without an image, an image that is known
    shutil.copytree(device, tmp_path / "copy")
    broken, known, gone = kept[:3]
    copy = tmp_path / "copy/kept"
    (copy / broken).write_bytes((copy / broken).read_bytes()[:40])
    shutil.copy(next((tmp_path / "runs/tiny/bundle/golden/images").iterdir()), copy / known)
    (copy / gone).unlink()
    (copy / "half.png").write_bytes(b"\x89PNG")
    code, _, err = go("label", "recipe.yaml", "--from", "copy", "--budget", 5)
    assert code == 0, err
    new = len(kept) - 3
    assert f"{new} new images from copy" in err
    assert "left out, its image is not there, so half-written: copy the folder again" in err
    assert f"left out, known already: {known}" in err
    assert "half.png" in err
    assert broken in err
    back = tmp_path / "tiny-returned/001"
    assert sorted(path.name for path in back.glob("*.png")) == kept[3:]
    reasons = (back / "left_out.csv").read_text()
    assert all(name in reasons for name in (broken, known, gone, "half.png"))
    asked = labelled(tmp_path, tmp_path / "tiny-returned/labels.csv")
    assert len(asked) == 5
    assert all("tiny-returned/001/" in name for name in asked)
    assert "save the labels as tiny-returned/labels.csv" in err
    assert "| 1     |" in err  # the table of rounds, with what the device saw of its student
    assert "of 30" in err

    # The same folder again brings nothing that is there already, and what was left out before
    code, _, err = go("label", "recipe.yaml", "--from", device)
    assert code == 0, err
    assert "3 new images" in err
    assert {path: path.read_bytes() for path in device.rglob("*") if path.is_file()} == untouched
    code, _, err = go("label", "recipe.yaml", "--from", device)
    assert (code, "0 new images" in err) == (0, True)
    assert not (tmp_path / "tiny-returned/003").exists()

    code, out, err = go("run", "recipe.yaml", "--json")
    assert code == 0, err
    after = json.loads(out)
    assert [each["round"] for each in after["rounds"]] == [1, 2]
    second = after["rounds"][1]
    assert (second["images"], second["returned"]) == (36 + len(kept), len(kept))
    assert second["labels"] == 36 + 5
    assert "green" in after["data"]["classes"]
    assert second["held_out"] == first["held_out"] == before["golden"]["digest"]
    assert len(second["accuracy_ci"]) == 2
    assert after["rounds"][0]["devices"][0]["images"] == 30
    page = (tmp_path / "runs/tiny/report.html").read_text()
    assert "Rounds of labels" in page
    assert f"{36 + len(kept)} ({len(kept)} returned)" in page

    # The report of the round before is there to compare with, on the same held-out images
    code, out, err = go("compare", "runs/tiny/rounds/1", "runs/tiny")
    assert code == 0, err
    assert "cannot be compared" not in out
    code, out, err = go("run", "recipe.yaml", "--json")
    assert [each["round"] for each in json.loads(out)["rounds"]] == [1, 2]


def test_a_device_of_another_student_or_of_none_is_refused(
    tmp_path, write_recipe, go, seen, request
):
    write_recipe()
    other = request.getfixturevalue("sound_bundle")
    kept = at_work(other, seen, tmp_path / "device")
    assert kept
    code, _, err = go("label", "recipe.yaml", "--from", "device")
    assert code == 2
    assert "runs/tiny: this run has made no bundle yet" in err
    golden = tmp_path / "runs/tiny/bundle/golden/golden.safetensors"
    golden.parent.mkdir(parents=True)
    golden.write_bytes(b"another student's answers")
    for folder, why in (
        ("device", "kept by a student that is not of this run"),
        ("runs", "no folder of a monitor: it has no note of an image"),
        ("nowhere", "no such folder"),
    ):
        code, _, err = go("label", "recipe.yaml", "--from", folder)
        assert (code, why in err) == (2, True), err
    assert not list((tmp_path / "tiny-returned").iterdir())
    code, _, err = go("label", "recipe.yaml", "--from", "device", "--simulate")
    assert (code, "leave --budget, --from and --holdout out" in err) == (2, True)


def test_held_out_images_can_be_asked_for_and_accuracy_is_measured_on_them(
    tmp_path, write_recipe, go
):
    def proposed():
        return [row["image"] for row in listed(tmp_path) if row["rank"]]

    write_recipe({"data.labels": "labels.csv", "label.budget": 6})
    code, _, err = go("label", "recipe.yaml", "--budget", 6)
    assert "Accuracy needs labels of held-out images too: compressor label recipe.yaml" in err
    code, out, err = go("label", "recipe.yaml", "--holdout", 5, "--json")
    assert code == 0, err
    found = json.loads(out)["selection"]
    assert (found["proposed"], found["held_out_open"]) == (6, 5)
    asked = proposed()
    images = json.loads((tmp_path / "runs/tiny/dataset.json").read_text())["images"]
    held_out = {image["id"] for image in images if image["split"] == "holdout"}
    assert len(asked) == 11
    assert set(asked[6:]) < held_out
    html = (tmp_path / "runs/tiny/to_label.html").read_text()
    assert "The last 5 are held out and drawn at random" in html
    assert all(name in html for name in asked)
    assert go("label", "recipe.yaml", "--holdout", 8)[0] == 0
    assert proposed()[:11] == asked  # the same ones, and three more
    rows = [(name, name.split("/")[0]) for name in proposed()]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    code, out, err = go("run", "recipe.yaml", "--json")
    assert code == 0, err
    report = json.loads(out)
    deployed = next(each for each in report["ledger"] if each["stage"] == "onnx-fp32")
    assert any(key.startswith("accuracy") for key in deployed)
    assert report["rounds"][0]["held_out_labels"] == 8
    code, _, err = go("label", "recipe.yaml", "--holdout", 1_000)
    assert (code, "--holdout 1000: this run holds out 12 images" in err) == (2, True)
