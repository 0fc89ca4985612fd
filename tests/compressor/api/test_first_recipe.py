"""The recipes that come along: each is sound, and `init --like` writes it for other images."""

import re
import shutil
from pathlib import Path

import pytest
import timm
from click.testing import CliRunner

from compressor.api import job as jobs
from compressor.api.first_recipe import examples, first_look, recipe_like
from compressor.cli.app import commands
from compressor.recipe import target
from runtime.errors import InputError

NAMES = sorted(path.stem for path in (target.recipes_folder() / "examples").glob("*.yaml"))


@pytest.fixture
def project(tmp_path, folder_of_images, monkeypatch):
    """A folder with images of two classes, and what some of the recipes name beside them."""
    shutil.copytree(folder_of_images, tmp_path / "my photos")
    shutil.copytree(folder_of_images / "red", tmp_path / "other-photos")
    (tmp_path / "weights").mkdir()
    for model in ("vit_small_patch14_dinov2.lvd142m", "mobilenetv4_conv_small.e2400_r224_in1k"):
        (tmp_path / "weights" / f"{model}.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_each_recipe_can_be_taken(project, name):
    args = ["init", "my photos", "--like", name, "--recipe", "mine.yaml"]
    done = CliRunner().invoke(commands, args)
    assert done.exit_code == 0, done.output
    job = jobs.open_job(project / "mine.yaml", (), project / "run", lambda event: None)
    recipe = job.plan.recipe
    assert recipe.data.images == str(project / "my photos")
    assert recipe.name == name
    for network in (recipe.teacher, recipe.student):
        if network.model != "auto":
            licence = timm.get_pretrained_cfg(network.model).license
            assert licence == "apache-2.0", "a user of a recipe may ship what it makes"
    assert recipe.data.labels == {"few-labels": str(project / "labels.csv")}.get(
        name, "none" if name == "search-by-image" else "folders"
    )


def test_the_list_says_what_each_is_for():
    done = CliRunner().invoke(commands, ["recipes"])
    assert list(examples()) == NAMES
    for name, use in examples().items():
        assert re.search(rf"^\| {name} +\| {re.escape(use)} +\|$", done.output, re.M)
    listed = Path(target.recipes_folder() / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `examples/([\w-]+)\.yaml` \| (.+) \|$", listed, re.M)
    assert dict(rows) == examples()


def test_without_labels_the_gates_on_labels_become_comments(project):
    look = first_look(project / "other-photos")
    text = recipe_like("pi-5-camera", look, relative_to=project)
    assert "  labels: none\n" in text
    assert "  # accuracy_drop: 0.03   # needs labels\n" in text
    (project / "mine.yaml").write_text(text)
    job = jobs.open_job(project / "mine.yaml", (), project / "run", lambda event: None)
    assert job.plan.recipe.require.accuracy_drop is None
    assert job.plan.recipe.require.latency_p95_ms == 50


def test_what_was_found_in_the_folders_is_said(project):
    text = recipe_like("strange-images", first_look(project / "my photos"), relative_to=project)
    assert "  # 48 image files, by folders 2 classes: blue 24, red 24\n" in text
    assert "  images: my photos\n" in text
    assert "  ood: other-photos\n" in text


def test_a_name_that_is_none_gets_a_suggestion(project):
    with pytest.raises(InputError, match=r"'pi5-camera' is no recipe of ours; did you mean pi-5"):
        recipe_like("pi5-camera", first_look(project / "my photos"), relative_to=project)
    with pytest.raises(InputError, match="known: android-litert, "):
        recipe_like("zzz", first_look(project / "my photos"), relative_to=project)
