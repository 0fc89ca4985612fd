"""`distill.disk_gb: null`: settled by what is free, written down, found again, settled anew."""

import shutil
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from compressor.api import job as jobs
from compressor.distillation.disk_budget import plan_disk
from compressor.events import Message, StepEnded
from compressor.pipeline import runner
from compressor.pipeline.settling.training_defaults import DISK_FILE, with_training_defaults
from compressor.pipeline.storage.cache import shared_store
from compressor.recipe.schema import Distill
from runtime.documents import read_json
from runtime.errors import InputError
from runtime.files import write_json

OPEN = {"distill.disk_gb": None, "check.robustness_images": 0}


@pytest.fixture
def free(monkeypatch):
    """`free(gigabytes)`: what the disk has from now on."""

    def of(gigabytes):
        left = SimpleNamespace(total=10**15, used=0, free=round(gigabytes * 1e9))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: left)

    return of


@pytest.fixture
def job(write_recipe, tmp_path, monkeypatch):
    """`job(**changes)`: a job in the same folder with an empty cache, and what it says."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "store"))

    def opened(changes=None):
        said = []

        def observe(event):
            said.append(event)

        recipe = write_recipe({**OPEN, **(changes or {})})
        return jobs.open_job(recipe, (), tmp_path / "run", observe), said

    return opened


def texts(seen):
    return [event.text for event in seen if isinstance(event, Message)]


def limit_of(run):
    return with_training_defaults(run).plan.recipe.distill.disk_gb


def test_a_run_takes_the_limit_that_it_began_with(job, free, tmp_path):
    free(29)
    begun, said = job()
    jobs.complete(begun)
    (line,) = [text for text in texts(said) if text.startswith("distill.disk_gb")]
    store = shared_store().folder
    assert line == f"distill.disk_gb: 5, by a third of the room of {store}: 29.0 GB free"
    decoded = next(n for n, each in enumerate(said) if getattr(each, "step", "") == "images")
    assert line in texts(said[:decoded])  # before anything is decoded
    assert read_json(tmp_path / "run" / DISK_FILE) == {"disk_gb": 5.0}
    written = YAML(typ="safe", pure=True).load(tmp_path / "run" / "recipe.resolved.yaml")
    assert written["distill"]["disk_gb"] == 5

    free(400)
    again, said = job()
    jobs.complete(again)
    assert "distill.disk_gb: 5, as settled when this run began" in texts(said)
    assert {each.state for each in said if isinstance(each, StepEnded)} == {"cached"}

    changed = with_training_defaults(job({"distill.lr": 1e-4})[0])  # another training
    states = runner.planned(changed)
    assert (states["pixels"], states["features"], states["distill"]) == (
        "cached",
        "cached",
        "to do",
    )

    free(1)  # others have filled the disk: what is kept needs no more room
    assert limit_of(job()[0]) == 5
    assert jobs.reopen_job(tmp_path / "run", lambda event: None)  # `compressor export` finds it


def test_a_limit_of_the_recipe_is_not_asked_for(job, free, tmp_path):
    free(29)
    given, said = job({"distill.disk_gb": 3})
    assert limit_of(given) == 3
    assert texts(said) == []


def test_a_limit_that_no_longer_fits_is_settled_anew_and_said(job, free, tmp_path):
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / DISK_FILE, {"disk_gb": 5})
    free(5)
    assert limit_of(job()[0]) == 5
    free(4.9)
    run, said = job()
    assert limit_of(run) == 1
    assert texts(said)[-1].startswith(
        "distill.disk_gb: 1 (settled anew: 5, from when this run began, no longer fits), by a third"
    )


@pytest.mark.parametrize("number", [0, -1, "much"])
def test_a_damaged_file_is_named(job, tmp_path, number):
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / DISK_FILE, {"disk_gb": number})
    with pytest.raises(InputError, match=f"{DISK_FILE}: disk_gb: "):
        limit_of(job()[0])


def test_a_dry_run_says_it_and_keeps_nothing(job, free, tmp_path):
    free(29)
    run, said = job()
    found = jobs.rehearse(run)
    assert found.recipe["distill"]["disk_gb"] == 5
    assert any(text.startswith("distill.disk_gb: 5, by a third") for text in texts(said))
    assert not (tmp_path / "run").exists()


def test_a_plan_needs_a_limit_that_is_settled():
    nothing = SimpleNamespace()
    with pytest.raises(ValueError, match="not settled"):
        plan_disk(Distill(), nothing, nothing, nothing)  # type: ignore[arg-type]
