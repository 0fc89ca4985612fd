"""Weights that are wrong are refused before the first image is decoded, by every command."""

import json
import shutil

import pytest
import torch

import compressor
from compressor.api import job as jobs
from compressor.distributed import group as groups
from compressor.distributed.group import ALONE, Group
from compressor.events import ignore
from runtime.errors import InputError


@pytest.fixture
def recipe(base, tmp_path, monkeypatch, opens_no_image):
    """A recipe whose teacher's weights fit no model, and images that must not be looked at."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "store"))
    shutil.copytree(base / "images", tmp_path / "images")
    torch.save({"state_dict": {"model.x": torch.ones(2)}}, tmp_path / "own.pth")
    document = json.loads((base / "recipe.yaml").read_text())
    document["data"]["labels"] = "none"
    document["teacher"]["weights"] = "own.pth"
    (tmp_path / "recipe.yaml").write_text(json.dumps(document))

    return tmp_path / "recipe.yaml"


COMMANDS = {
    "run": jobs.complete,
    "run --minutes": lambda job: jobs.complete(
        job.with_sections(distill=job.plan.recipe.distill.model_copy(update={"minutes": 1.0}))
    ),
    "run --dry-run": jobs.rehearse,
    "label": lambda job: jobs.choose_images(job, None),
    "label --simulate": jobs.simulate_labelling,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_them_at_once(recipe, command):
    job = jobs.open_job(recipe, [], recipe.parent / "run", ignore)
    with pytest.raises(InputError, match=r"own\.pth: these weights do not fit teacher\.model"):
        COMMANDS[command](job)
    assert not (recipe.parent / "run/dataset.json").exists()


def test_a_batch_too_small_for_the_processes_is_refused_before_an_image_is_decoded(recipe):
    job = jobs.open_job(recipe, ["distill.batch=8"], recipe.parent / "run", ignore)
    groups.be(Group(0, 3))
    try:
        with pytest.raises(InputError, match="8 images in 3 parts"):
            jobs.complete(job)
    finally:
        groups.be(ALONE)


def test_so_does_the_python_api(recipe):
    teacher = {"model": "vit_tiny_patch16_224", "weights": str(recipe.parent / "own.pth")}
    folder = recipe.parent / "images"
    with pytest.raises(InputError, match="do not fit"):
        compressor.select_images(folder, budget=3, teacher=teacher)
    with pytest.raises(InputError, match="do not fit"):
        compressor.distill(folder, teacher, {"model": "test_vit", "weights": "none"})
