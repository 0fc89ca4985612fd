"""Weights fetched from a hub that this machine serves, and used where no hub is."""

import errno
import hashlib
import json
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file, save

import compressor
from compressor.cli import app
from compressor.models.encoder import create_student, load_teacher
from compressor.pipeline.context import Run
from compressor.pipeline.settling import student_search
from compressor.recipe import plan as plans
from runtime.errors import InputError, MissingDependencyError

TEACHER, STUDENT = "test_vit.r160_in1k", "test_resnet.r160_in1k"
CANDIDATES = ("test_efficientnet", "test_resnet", "vit_small_patch16_18x2_224")


@pytest.fixture(scope="module")
def trained():
    """State dicts of small models, as their repositories would hold them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        names = ("test_vit", "test_resnet", "test_efficientnet")
        return {name: timm.create_model(name).state_dict() for name in names}


@pytest.fixture
def hub(local_hub, trained):
    for name, state in trained.items():
        local_hub.put(f"timm/{name}.r160_in1k", save(state))
    return local_hub


@pytest.fixture
def recipe(write_recipe, tmp_path):
    """A recipe whose images are on another machine."""

    def go(changes=None):
        teacher = {"teacher": {"model": "test_vit"}, "student.model": "test_resnet"}
        images = {"data.images": "not-here", "student.weights": "auto"}
        return write_recipe({**teacher, **images, **(changes or {})}, tmp_path / "net" / "r.yaml")

    return go


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_recipe_needs_is_fetched_with_a_manifest(hub, recipe, trained, tmp_path):
    said = []
    found = compressor.fetch_weights(recipe(), tmp_path / "weights", on_event=said.append)
    names = [f"{TEACHER}.safetensors", f"{STUDENT}.safetensors"]
    assert files_of(tmp_path / "weights") == sorted([*names, "weights.json"])
    assert [entry.file for entry in found.files] == names
    for entry in found.files:
        content = (tmp_path / "weights" / entry.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry.sha256
        assert len(content) == entry.size
    assert found.files[1].names == (STUDENT, "test_resnet")
    assert found.files[1].license == "apache-2.0"
    loaded = load_file(tmp_path / "weights" / names[1])
    assert all(torch.equal(loaded[key], trained["test_resnet"][key]) for key in loaded)
    assert found.recipe_lines == "teacher:\n  weights: weights\nstudent:\n  weights: weights\n"
    assert [event.text.split(":")[0] for event in said] == names


def test_the_other_machine_needs_no_hub(hub, recipe, write_recipe, trained, tmp_path, monkeypatch):
    compressor.fetch_weights(recipe(), tmp_path / "weights")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "other-cache"))
    lines = {"teacher.weights": "weights", "student.weights": "weights"}
    here = {"teacher": {"model": "test_vit"}, "student.model": "test_resnet", **lines}
    plan = plans.load(write_recipe(here))
    student = create_student(plan.recipe.student, seed=0).module.backbone.state_dict()
    assert all(torch.equal(student[key], trained["test_resnet"][key]) for key in student)
    assert load_teacher(plan.recipe.teacher).origin.hub_id == f"timm/{TEACHER}"


def test_all_candidates_of_a_student_that_is_looked_for(hub, recipe, write_recipe, tmp_path):
    target = f"description: a device\nstudents: [{', '.join(CANDIDATES)}]\nbatches: [1, 2]\n"
    for folder in (tmp_path, tmp_path / "net"):
        folder.mkdir(exist_ok=True)
        (folder / "device.yaml").write_text(target)
    looking = {"student.model": "auto", "target": "device.yaml", "require": {"size_mb": 5}}
    said = []
    found = compressor.fetch_weights(recipe(looking), tmp_path / "weights", on_event=said.append)
    assert [entry.names[-1] for entry in found.files[1:]] == ["test_efficientnet", "test_resnet"]
    (left_out,) = [event.text for event in said if event.level == "warning"]
    assert left_out.startswith("student.model vit_small_patch16_18x2_224: timm has no pretrained")
    changes = {"teacher": {"model": "test_vit", "weights": "weights"}, "student.weights": "weights"}
    run = Run(plans.load(write_recipe({**looking, **changes})), tmp_path / "run")
    chosen = student_search.settled(run, keep=False).plan.recipe.student
    assert (chosen.model, chosen.weights) == (
        "test_efficientnet",
        str(tmp_path / "weights" / "test_efficientnet.r160_in1k.safetensors"),
    )


def test_a_second_call_adds_and_fetches_nothing_twice(hub, recipe, tmp_path):
    compressor.fetch_weights(recipe(), tmp_path / "weights")
    hub.asked.clear()
    other = {"student.model": "test_efficientnet"}
    compressor.fetch_weights(recipe(), tmp_path / "weights", overrides=other)
    assert hub.downloads() == ["GET timm/test_efficientnet.r160_in1k/model.safetensors"]
    manifest = json.loads((tmp_path / "weights" / "weights.json").read_text())
    assert len(manifest["files"]) == 3
    (tmp_path / "weights" / f"{STUDENT}.safetensors").write_bytes(b"damaged")
    compressor.fetch_weights(recipe(), tmp_path / "weights")
    manifest = json.loads((tmp_path / "weights" / "weights.json").read_text())
    assert len(manifest["files"]) == 3
    assert (tmp_path / "weights" / f"{STUDENT}.safetensors").stat().st_size > 1000


def test_a_pickled_file_becomes_safetensors(hub, recipe, trained, tmp_path):
    del hub.files[f"timm/{STUDENT}/model.safetensors"]
    torch.save(trained["test_resnet"], tmp_path / "model.bin")
    hub.put(f"timm/{STUDENT}", (tmp_path / "model.bin").read_bytes(), "pytorch_model.bin")
    compressor.fetch_weights(recipe(), tmp_path / "weights")
    loaded = load_file(tmp_path / "weights" / f"{STUDENT}.safetensors")
    assert all(torch.equal(loaded[key], trained["test_resnet"][key]) for key in loaded)


def test_local_weights_are_left_and_a_folder_that_is_to_be_filled_is_wanted(hub, recipe, tmp_path):
    said = []
    changes = {"teacher.weights": "mine.pth", "student.weights": "none"}
    found = compressor.fetch_weights(
        recipe(), tmp_path / "weights", overrides=changes, on_event=said.append
    )
    assert (found.files, found.recipe_lines) == ((), "")
    assert [event.text.endswith("nothing to fetch") for event in said] == [True, True]
    assert not (tmp_path / "weights").exists()
    again = {"teacher.weights": "../weights", "student.weights": "../weights"}
    found = compressor.fetch_weights(recipe(again), tmp_path / "weights")
    assert len(found.files) == 2


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's client waits between tries


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"breaks_after": 1000}, "its weights could not be fetched: "),
        ({"lies": True}, "another sha256 than the hub announced"),
    ],
)
def test_a_broken_download_adds_nothing_and_the_next_continues(hub, recipe, tmp_path, harm, said):
    for key, value in harm.items():
        setattr(hub, key, value)
    with pytest.raises(MissingDependencyError, match=said) as caught:
        compressor.fetch_weights(recipe(), tmp_path / "weights")
    assert f"By hand: {hub.url}/timm/{TEACHER}/resolve/main/model.safetensors" in str(caught.value)
    assert files_of(tmp_path / "weights") == [".fetching"]
    hub.breaks_after, hub.lies = None, False
    compressor.fetch_weights(recipe(), tmp_path / "weights")
    assert len(files_of(tmp_path / "weights")) == 3


def test_a_second_file_that_fails_adds_nothing_and_the_first_is_not_fetched_again(
    hub, recipe, tmp_path
):
    content = hub.files.pop(f"timm/{STUDENT}/model.safetensors")
    with pytest.raises(MissingDependencyError, match="test_resnet: its weights could not"):
        compressor.fetch_weights(recipe(), tmp_path / "weights")
    assert files_of(tmp_path / "weights") == [".fetching"]
    hub.files[f"timm/{STUDENT}/model.safetensors"] = content
    hub.asked.clear()
    compressor.fetch_weights(recipe(), tmp_path / "weights")
    assert hub.downloads() == [f"GET timm/{STUDENT}/model.safetensors"]


def test_a_full_disk_is_named_with_the_way_out(hub, recipe, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(MissingDependencyError, match=r"no space left.*\n?.*--to") as caught:
        compressor.fetch_weights(recipe(), tmp_path / "weights")
    assert str(tmp_path / "weights") in str(caught.value)


def test_a_folder_that_is_a_file_is_refused(hub, recipe, tmp_path):
    (tmp_path / "weights").write_text("mine")
    with pytest.raises(InputError, match=r"weights: .*Name another folder with --to"):
        compressor.fetch_weights(recipe(), tmp_path / "weights")
    assert (tmp_path / "weights").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher.model": "test_vitt"}, "teacher.model: timm .* knows no 'test_vitt'"),
        ({"student.model": "gcvit_xxtiny", "student.weights": "hub"}, "are not on the hub"),
        ({"student.modle": "x"}, r"r\.yaml:\d+: student.modle"),
    ],
)
def test_a_wrong_recipe_fetches_nothing(hub, recipe, tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        compressor.fetch_weights(recipe(changes), tmp_path / "weights")
    assert hub.downloads() == []


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capfd):
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["compressor", *map(str, arguments)])
        try:
            app.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
        return (code or 0, *capfd.readouterr())

    return command


def test_the_command_prints_the_lines_of_the_recipe(hub, recipe, command, tmp_path):
    code, out, err = command("fetch", recipe(), "--to", tmp_path / "w")
    assert (code, out) == (0, "teacher:\n  weights: w\nstudent:\n  weights: w\n")
    assert f"wrote {tmp_path / 'w'}. Next: copy it beside the recipe" in err
    code, out, _ = command("fetch", recipe(), "--to", tmp_path / "w", "--json")
    assert [entry["names"][0] for entry in json.loads(out)["files"]] == [TEACHER, STUDENT]


def test_without_network_it_ends_with_3_and_the_way_out(empty_hub_cache, recipe, command, tmp_path):
    code, out, err = command("fetch", recipe(), "--to", tmp_path / "w")
    assert (code, out) == (3, "")
    assert (
        "error: test_vit: its weights could not be fetched: the model hub http://127.0.0.1:9 "
        in err
    )
    assert "By hand: http://127.0.0.1:9/timm/test_vit.r160_in1k/resolve/main/" in err
