"""The golden set of a real run: what the desk found, the device finds with the bundle alone."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.pipeline.steps import golden as golden_set
from compressor.pipeline.steps import robustness
from compressor.recipe import plan as plans
from runtime import metrics
from runtime.bundle import bundle, golden
from runtime.documents import read_json
from runtime.errors import InputError
from runtime.evaluation.check import check
from runtime.findings.contamination import drop_contaminated
from runtime.images import corruptions
from runtime.results.scores import to_json
from runtime.sampling import evenly
from tiny_training import TINY_TRAINING

CHECK = {"check.robustness_images": 4, "export.golden_images": 8, "data.holdout": 0.4}


def ran(write_recipe, folder, changes, *, until="check"):
    plan = plans.load(write_recipe(changes, folder / "recipe.yaml"))
    run = Run(plan, folder / "run")
    run.folder.mkdir(exist_ok=True)
    runner.run_all(run, until=until)
    return run


@pytest.fixture(scope="module")
def writer(tmp_path_factory, folder_of_images, tiny_teacher):
    """`write_recipe` for fixtures of a module."""
    from ruamel.yaml import YAML

    def write(changes, path):
        document = {
            "name": "tiny",
            "data": {"images": str(folder_of_images), "labels": "folders"},
            "teacher": dict(tiny_teacher),
            "student": {
                "model": "mobilenetv3_small_050",
                "weights": "none",
                "image_size": 32,
                "embedding": 16,
            },
            "distill": dict(TINY_TRAINING),
        }
        for dotted, value in changes.items():
            section, key = dotted.split(".")
            document.setdefault(section, {})[key] = value
        with path.open("w") as file:
            YAML(typ="safe", pure=True).dump(document, file)
        return path

    return write


@pytest.fixture(scope="module")
def run(writer, tmp_path_factory):
    return ran(writer, tmp_path_factory.mktemp("tiny"), CHECK)


@pytest.fixture(scope="module")
def holdout(run):
    return golden.load(run.folder / "holdout")


@pytest.fixture(scope="module")
def carried(run):
    return golden.load(run.folder / "bundle" / "golden")


# --- what is in it ---------------------------------------------------------------------------


def test_every_corrupted_image_travels(holdout, carried):
    assert len(carried.images) == 8
    assert len(holdout.arrays.corrupted.rows) == len(carried.arrays.corrupted.rows) == 4
    for one, other in zip(holdout.corrupted(), carried.corrupted(), strict=True):
        assert one[0].open().tobytes() == other[0].open().tobytes()
        assert one[1] == other[1]
    here, there = holdout.arrays.corrupted, carried.arrays.corrupted
    assert np.array_equal(here.teacher.answers, there.teacher.answers)
    assert np.array_equal(here.student.stability, there.student.stability)


def test_the_teachers_answer_to_a_corruption_is_that_of_its_probe(run, holdout):
    import torch

    from compressor.probes.fit import linear_probe

    picture, made = holdout.corrupted()[2]
    pixels = run.teacher.preprocess(made[17](picture.open()))
    with torch.inference_mode():
        embedding = run.teacher.module.eval()(torch.from_numpy(pixels)[None]).numpy()
    probe = linear_probe(run.tensors("probes.safetensors"), "teacher")
    expected = probe.logits(embedding).argmax()
    answers = holdout.arrays.corrupted.teacher.answers[2]
    assert answers.shape == (6, 5)
    assert answers.reshape(-1)[17] == expected


def test_seeds_come_from_the_pixels(run, holdout):
    keys = run.images().part("holdout").keys
    rows = holdout.arrays.corrupted.rows
    expected = [int(keys[row][:12], 16) for row in rows]
    assert holdout.arrays.corrupted.seeds.tolist() == expected


def test_the_map_is_fitted_on_training_images_only(run, holdout):
    found, probed = run.images(), run.tensors("probes.safetensors")
    train = found.rows("train", "validation")
    teacher = run.tensors("embeddings.safetensors")["images"]
    expected = metrics.fit_orthogonal_map(probed["student"][train], teacher[train])
    assert np.array_equal(holdout.arrays.orthogonal_map.turn, expected.turn)
    assert len(holdout.arrays.bank) == len(train)


def test_the_centre_of_the_student_is_the_constant_that_it_was_given(run, holdout):
    constant = run.trained_student().module.constant.numpy()
    assert constant.any()
    assert np.array_equal(holdout.arrays.student_centre, constant)


def test_corruptions_stand_for_the_folder_that_the_recipe_does_not_name(run, holdout, carried):
    assert holdout.ood_source == carried.ood_source == "corruptions"
    arrays = run.tensors("corrupted.safetensors")
    for at, seed in enumerate(holdout.arrays.corrupted.seeds.tolist()):
        cell = corruptions.cells().index(corruptions.worst_cell(seed))
        expected = arrays["student"][at, cell]
        assert np.array_equal(holdout.arrays.outside.student_embedding[at], expected)
    report = read_json(run.folder / "report.json")
    assert report["golden"]["ood_source"] == "corruptions"
    assert "ood_auroc_mahalanobis" in report["ledger"][2]


# --- the device tells the same story ---------------------------------------------------------


def leaves(document, path=""):
    """Every number, by where it stands."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(document, list):
        for at, value in enumerate(document):
            yield from leaves(value, f"{path}/{at}")
    elif isinstance(document, int | float | str | None):
        yield path, document


def test_the_device_tells_the_same_story_of_the_same_images(run, holdout, carried):
    opened = bundle.load(run.folder / "bundle")
    rows = evenly(len(holdout.images), 8)
    desk, device = (to_json(check(opened, each)) for each in (holdout.only(rows), carried))
    for part in ("ledger", "robustness", "per_class"):
        one, other = dict(leaves(desk[part])), dict(leaves(device[part]))
        kept = [path for path in one if "latency" not in path]
        assert kept
        for path in kept:
            assert other[path] == pytest.approx(one[path], abs=1e-6), path
    for one, other in zip(desk["departures"]["most"], device["departures"]["most"], strict=True):
        assert one["distance"] == pytest.approx(other["distance"], abs=1e-6)
        assert one["teacher"] == other["teacher"]


def test_the_run_itself_says_what_its_bundle_says(run):
    report = read_json(run.folder / "report.json")
    assert [each["stage"] for each in report["robustness"]["lines"]] == [
        "teacher",
        "student",
        "deployed",
    ]
    student, deployed = report["ledger"][1:]
    for key in ("accuracy_linear", "procrustes_cosine", "linear_cka", "total_variation"):
        assert deployed[key] == pytest.approx(student[key], abs=1e-3)
    assert report["timings_s"]["robustness"] > 0
    assert (run.folder / "report.html").stat().st_size > 10_000


# --- contamination --------------------------------------------------------------------------------


def test_a_planted_training_image_is_dropped(writer, folder_of_images, tmp_path):
    """One value of one pixel is another: the audit takes it for a new image, the teacher cannot."""
    images, held = tmp_path / "images", tmp_path / "held"
    shutil.copytree(folder_of_images, images)
    (held / "blue").mkdir(parents=True)
    (held / "red").mkdir()
    for name in ("blue", "red"):
        for number in range(16, 24):
            (images / name / f"{number:02d}.png").rename(held / name / f"{number:02d}.png")
    pixels = np.asarray(Image.open(images / "blue" / "03.png")).copy()
    pixels[5, 5, 0] ^= 1
    Image.fromarray(pixels).save(held / "blue" / "planted.png")
    changes = {
        "data.images": str(images),
        "data.holdout": str(held),
        "data.min_images": 8,
        "check.robustness_images": 3,
    }
    run = ran(writer, tmp_path, changes, until="golden")
    whole = golden.load(run.folder / "holdout")
    assert len(whole.images) == 17  # the audit has not noticed
    kept, (name,) = drop_contaminated(whole)
    assert name.endswith("blue/planted.png")
    assert len(kept.images) == 16
    assert name not in kept.images


def test_a_bank_with_held_out_images_is_refused(run, monkeypatch):
    """Whoever fits on everything is stopped: every held-out image is in the bank then."""
    everything = golden_set.bank_rows
    monkeypatch.setattr(
        golden_set, "bank_rows", lambda labels, usable: everything(labels, np.arange(len(labels)))
    )
    leaked = golden_set.of_student(run, "student")
    with pytest.raises(InputError, match=r"held-out images are training images too"):
        drop_contaminated(leaked)


# --- the stage that corrupts -----------------------------------------------------------------


def test_none_is_corrupted_where_none_is_wanted(run, writer, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")  # the student is there
    run = ran(writer, tmp_path, {**CHECK, "check.robustness_images": 0})
    report = read_json(run.folder / "report.json")
    assert "robustness" not in report
    assert report["golden"]["ood_source"] is None
    assert not [key for key in report["ledger"][2] if key.startswith("ood")]
    loaded = golden.load(run.folder / "bundle" / "golden")
    assert loaded.corrupted() == []


def test_no_more_are_corrupted_than_travel(run):
    recipe_of = run.plan.recipe
    more = recipe_of.model_copy(
        update={"check": recipe_of.check.model_copy(update={"robustness_images": 1000})}
    )
    chosen = robustness.chosen(replace(run, plan=replace(run.plan, recipe=more)))
    assert len(chosen.rows) == 8


def test_a_killed_stage_goes_on_where_it_was(run, tmp_path, monkeypatch):
    """What a part holds is believed; only the others are made."""
    monkeypatch.setattr(robustness, "PART_IMAGES", 1)
    chosen = robustness.chosen(run)
    (tmp_path / "parts").mkdir()
    marked = np.full((1, 30, run.teacher.dim), 7, np.float32)
    np.save(tmp_path / "parts" / "teacher-000001.npy", marked)
    found = robustness._embed(run, run.teacher, chosen, "teacher", tmp_path, None)
    assert found.shape == (4, 30, run.teacher.dim)
    assert np.array_equal(found[1:2], marked)
    expected = run.tensors("corrupted.safetensors")["teacher"]
    assert found[[0, 2, 3]] == pytest.approx(expected[[0, 2, 3]], abs=5e-2)  # bfloat16 there
    assert len(list((tmp_path / "parts").iterdir())) == 4
