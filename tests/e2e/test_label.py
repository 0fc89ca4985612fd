"""Choosing images to label, labelling them, going on, asking for more: the real command line."""

import csv
import itertools
import json
from xml.etree import ElementTree

import pytest

from compressor.recipe.choices import STRATEGIES

pytest.importorskip("openTSNE")


@pytest.fixture
def place(tmp_path, monkeypatch, write_recipe):
    """A folder with a recipe whose labels are still to be given."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")  # as the command itself sets them, but undone afterwards
    recipe(write_recipe)
    return tmp_path


def recipe(write_recipe, **changes):
    """`label=None` leaves the section out."""
    written = {"data.labels": "labels.csv"}
    if "label" not in changes:
        written |= {"label.budget": 6, "label.seed": 1}
    changes.pop("label", None)
    write_recipe(written | {key.replace("__", "."): value for key, value in changes.items()})


def listed(place):
    with (place / "runs/tiny/to_label.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def proposed(place):
    return [row["image"] for row in listed(place) if row["rank"]]


def hand_back(place, images, name="labels.csv", **others):
    rows = [(image, image.split("/")[0]) for image in images] + list(others.items())
    with (place / name).open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])


def stamps(place, *names):
    return {name: (place / "runs/tiny" / name).stat().st_mtime_ns for name in names}


def states(err):
    """What became of each stage, as it was told."""
    lines = err.splitlines()
    names = ("images", "embeddings", "selection", "pixels", "features", "distill", "probes")
    found = {}
    for at, line in enumerate(lines):
        name = line.split(":")[0]
        if name in names and line.startswith(f"{name}: "):
            found[name] = next(each for each in lines[at + 1 :] if each.startswith("  "))
    return {name: "skipped" if "skipped" in line else "done" for name, line in found.items()}


def test_a_run_waits_for_labels_goes_on_with_them_and_asks_for_more(place, go):
    code, out, err = go("run", "recipe.yaml")
    assert (code, out) == (0, "")
    first = proposed(place)
    assert len(set(first)) == 6
    assert "tiny: 6 images to label, 0 of 36 labelled (cold-paws-cosine)" in err
    assert "Next: save the labels as labels.csv, then\n  compressor run recipe.yaml\n" in err
    assert not (place / "runs/tiny/student.safetensors").exists()
    html = (place / "runs/tiny/to_label.html").read_text()
    assert all(f"Image {rank}: {name}" in html for rank, name in enumerate(first, 1))
    tasks = json.loads((place / "runs/tiny/to_label.json").read_text())
    assert [task["data"]["rank"] for task in tasks] == [1, 2, 3, 4, 5, 6]

    hand_back(place, reversed(first))  # any order
    code, out, err = go("run", "recipe.yaml", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["data"]["labelled"] == 6
    deployed = next(each for each in report["ledger"] if each["stage"] == "onnx-fp32")
    assert not [key for key in deployed if key.startswith("accuracy")]  # none is held out
    made = stamps(place, "embeddings.safetensors", "student.safetensors", "train.jsonl")

    code, _, err = go("label", "recipe.yaml", "--budget", 4)
    assert code == 0, err
    assert proposed(place)[:6] == first
    assert len(set(proposed(place))) == 10
    assert [bool(row["label"]) for row in listed(place)] == [True] * 6 + [False] * 4

    hand_back(place, proposed(place))
    code, _, err = go("run", "recipe.yaml")
    assert code == 0, err
    assert states(err) == {
        "images": "done",
        "embeddings": "skipped",
        "pixels": "skipped",
        "features": "skipped",
        "distill": "skipped",
        "probes": "done",
    }
    assert stamps(place, *made) == made


def test_nothing_proposed_vanishes_and_the_list_goes_on_from_what_has_a_label(place, go):
    go("label", "recipe.yaml")
    first = proposed(place)
    mine = next(
        photo["id"]
        for photo in json.loads((place / "runs/tiny/dataset.json").read_text())["images"]
        if photo["split"] == "train" and photo["id"] not in first
    )
    hand_back(place, [*first[:2], mine])
    code, out, _ = go("label", "recipe.yaml", "--budget", 3, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["selection"] | {"proposed": 9, "open": 7, "labelled": 3} == found["selection"]
    now = proposed(place)
    assert now[:6] == first
    assert mine not in now
    rows = {row["image"]: row for row in listed(place)}
    assert len(rows) == 10  # the file can take the place of labels.csv: no label is lost
    assert rows[mine]["label"] == mine.split("/")[0]
    assert sum(int(row["stands_for"] or 0) for row in rows.values()) <= 36


def test_the_list_itself_can_be_handed_back(place, go, write_recipe):
    """Somebody fills the column `label` where it is, a few at a time."""
    recipe(write_recipe, data__labels="runs/tiny/to_label.csv")
    (place / "runs/tiny").mkdir(parents=True)
    (place / "runs/tiny/.lock").touch()  # so that the recipe may name a file in it
    assert go("run", "recipe.yaml")[0] == 0
    path = place / "runs/tiny/to_label.csv"
    rows = listed(place)
    for row in rows[:4]:
        row["label"] = row["image"].split("/")[0]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")  # as a spreadsheet may
        writer.writeheader()
        writer.writerows(rows)
    code, _, err = go("run", "recipe.yaml")
    assert code == 0
    assert "2 images to label, 4 of 36 labelled" in err
    assert "--set label.budget=4" in err
    assert states(err)["selection"] == "skipped"
    assert [row["label"] for row in listed(place)] == [row["label"] for row in rows]


def test_labels_typed_into_the_list_are_kept_even_if_nobody_reads_them(place, go, write_recipe):
    recipe(write_recipe, data__labels="none")
    go("label", "recipe.yaml")
    path = place / "runs/tiny/to_label.csv"
    image = proposed(place)[1]
    path.write_text(path.read_text().replace(f"{image},,", f"{image},a red one,"))
    code, _, err = go("label", "recipe.yaml", "--budget", 2)
    assert code == 0
    assert listed(place)[1]["label"] == "a red one"
    assert len(proposed(place)) == 8
    assert "1 labels in runs/tiny/to_label.csv are not in data.labels" in err
    path.write_bytes(b"\xff\xfe spoilt")
    code, _, err = go("label", "recipe.yaml", "--budget", 2)
    assert code == 2
    assert "to_label.csv: not UTF-8 text" in err
    assert path.read_bytes() == b"\xff\xfe spoilt"


def test_one_class_is_fine_while_labels_are_missing_and_a_mistake_afterwards(place, go):
    go("label", "recipe.yaml")
    first = proposed(place)
    hand_back(place, [], **{image: "red" for image in first[:1]})
    code, _, err = go("run", "recipe.yaml")
    assert (code, "classes so far: red 1" in err) == (0, True)
    hand_back(place, [], **{image: "red" for image in first})
    code, _, err = go("run", "recipe.yaml")
    assert code == 2
    assert "6 images have a label, all of them 'red'; at least two classes are needed" in err


def test_everything_that_is_left_can_be_asked_for_and_then_nothing(place, go, write_recipe):
    code, _, err = go("label", "recipe.yaml", "--budget", 1_000)
    assert code == 0
    assert "36 images to label, 0 of 36 labelled" in err
    hand_back(place, proposed(place))
    code, _, err = go("label", "recipe.yaml", "--budget", 5)
    assert code == 0
    assert "0 images to label, 36 of 36 labelled" in err
    assert err.splitlines()[-1].startswith("Next: compressor run recipe.yaml")
    assert not (place / "runs/tiny/to_label.html").exists()


def test_labels_of_folders_are_labels_too(place, go, write_recipe):
    recipe(write_recipe, data__labels="folders", label=None)
    code, _, err = go("label", "recipe.yaml", "--budget", 5)
    assert code == 0
    assert "0 images to label, 36 of 36 labelled" in err


def test_mistakes_are_messages(place, go, write_recipe):
    code, _, err = go("label", "recipe.yaml", "--budget", 0)
    assert (code, "'--budget'" in err) == (2, True)
    code, _, err = go("label", "recipe.yaml", "--budget", 3, "--simulate")
    assert code == 2
    assert "--simulate measures budgets of its own; leave --budget, --from and --holdout out" in err
    recipe(write_recipe, label__strategy="cold-pawz")
    assert "did you mean cold-paws" in go("label", "recipe.yaml")[2]
    recipe(write_recipe)
    (place / "labels.csv").write_text("image,label\nred/00.png,a\nrde/01.png,a\nred/02.png,b\n")
    code, _, err = go("run", "recipe.yaml")
    assert code == 2
    assert "labels.csv:3: no such image below data.images: 'rde/01.png'; did you mean red/01" in err
    (place / "labels.csv").write_text("image,label\nred/00.png,a\nred/00.png,b\n")
    assert "labels.csv:3: red/00.png is 'b' here and 'a' above" in go("label", "recipe.yaml")[2]


def test_a_dry_run_tells_that_it_would_stop(place, go):
    code, out, _ = go("run", "recipe.yaml", "--dry-run")
    assert code == 0
    assert "stops after the choice of images to label, while fewer than 6 have a label" in out
    assert not (place / "runs").exists()
    go("label", "recipe.yaml")
    code, out, _ = go("run", "recipe.yaml", "--dry-run", "--json")
    found = json.loads(out)
    assert found["stops_after_selection"] is True
    (chosen,) = [step for step in found["stages"] if step["stage"] == "selection"]
    assert (chosen["state"], chosen["what"]) == ("cached", "which images to label first")


def test_a_simulation_measures_every_strategy(place, go, write_recipe):
    recipe(write_recipe, data__labels="folders")
    code, out, err = go("label", "recipe.yaml", "--simulate", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads((place / "runs/tiny/simulate.json").read_text())
    cells = {(cell["strategy"], cell["budget"]) for cell in found["summary"]}
    assert cells == set(itertools.product(STRATEGIES, (10, 20)))  # of 36 images; not 50 or 100
    assert found["seeds"] == 10
    assert len(found["outcomes"]) == 10 * len(cells)
    for cell in found["summary"]:
        assert 0 <= cell["accuracy"]["mean"] <= 1
        assert cell["classes_found"]["mean"] <= 2
        assert (cell["above_random"] is None) == (cell["strategy"] == "random")
    plot = ElementTree.parse(place / "runs/tiny/simulate.svg").getroot()
    assert plot.tag == "{http://www.w3.org/2000/svg}svg"
    assert not (place / "runs/tiny/to_label.csv").exists()


def test_a_simulation_without_labels_claims_no_accuracy(place, go, write_recipe):
    recipe(write_recipe, data__labels="none")
    code, out, _ = go("label", "recipe.yaml", "--simulate")
    assert code == 0
    headings = [each.strip() for each in out.splitlines()[0].split("|")[1:-1]]
    assert headings == ["strategy", "budget", "within radius", "redundant"]
    assert "They do not tell what accuracy a choice leads to." in out
