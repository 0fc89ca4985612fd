"""`compressor run FOLDER`: the recipe that `init` writes, what it guesses, and no file lost."""

import json
import sys

import pytest

from compressor.api.first_recipe import first_look, starter_recipe
from compressor.cli import app

HUB_GONE = "http://127.0.0.1:9"


@pytest.fixture
def run(project, monkeypatch, capfd):
    """Type `compressor run ...` in a project without a model hub; exit code, stdout, stderr."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project.folder.parent / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", HUB_GONE)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["compressor", "run", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        return ended.value.code, *capfd.readouterr()

    return run


def test_the_recipe_is_written_and_the_guesses_are_explained(project, run):
    code, out, err = run("images")
    assert (code, out) == (3, "")  # the guessed teacher is on the hub, which cannot be reached
    written = project.folder / "runs/images-cpu/recipe.yaml"
    assert "wrote runs/images-cpu/recipe.yaml" in err
    assert "data.labels: folders" in err
    assert "(2 class folders were found)" in err
    assert "teacher.model: vit_small_patch14_dinov2.lvd142m" in err
    by_init = project.folder / "by-init.yaml"
    by_init.write_text(starter_recipe(first_look(project.images), relative_to=written.parent))
    assert written.read_bytes() == by_init.read_bytes()


def test_a_recipe_that_is_there_is_used_and_never_overwritten(project, run):
    run("images")
    written = project.folder / "runs/images-cpu/recipe.yaml"
    written.write_text(written.read_text().replace("seed: 0", "seed: 7"))
    mine = written.read_bytes()
    code, _, err = run("images")
    assert code == 3
    assert "runs/images-cpu/recipe.yaml, which exists already, is used unchanged" in err
    assert written.read_bytes() == mine


def test_a_recipe_for_other_images_is_refused(project, run):
    run("images")
    (project.folder / "others").mkdir()
    code, _, err = run("others", "--out", "runs/images-cpu")
    assert code == 2
    assert "it is a recipe for other images" in err


def test_a_folder_with_other_files_stays_as_it_is(project, run):
    (project.folder / "results").mkdir()
    (project.folder / "results/mine.txt").write_text("precious")
    code, _, err = run("images", "--out", "results")
    assert code == 2
    assert "results: holds other files, which a run could overwrite." in err
    assert [path.name for path in (project.folder / "results").iterdir()] == ["mine.txt"]


def test_a_dry_run_of_a_folder_touches_nothing(project, run, tiny_teacher):
    before = project.snapshot()
    teacher = json.dumps({**tiny_teacher, "weights": str(project.folder / "teacher.safetensors")})
    code, out, err = run("images", "--dry-run", "--json", "--set", f"teacher={teacher}")
    assert code == 0, err
    assert json.loads(out)["recipe"]["name"] == "images-cpu"
    assert json.loads(out)["folder"] == "runs/images-cpu"
    assert project.snapshot() == before


def test_no_such_folder_is_no_recipe_either(run):
    code, _, err = run("imagse")
    assert code == 2
    assert "imagse: no such file" in err
