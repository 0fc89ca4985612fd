"""`distill.minutes` of a run: settled once, written down, found again, said in the report."""

import json

import pytest
from ruamel.yaml import YAML

import compressor
from compressor.api import job as jobs
from compressor.distillation.pace.rates import Rates
from compressor.events import Message, StepEnded
from compressor.pipeline.settling import time_budget
from runtime.documents import plain, read_json
from runtime.errors import InputError
from runtime.files import write_json

MINUTES = {"distill.minutes": 0.05, "distill.epochs": None, "distill.views": None}


@pytest.fixture
def complete(write_recipe, tmp_path):
    """`complete(**changes)`: run the recipe in the same folder; its events."""

    def go(changes=None):
        seen = []
        recipe = write_recipe({**MINUTES, "check.robustness_images": 0, **(changes or {})})
        jobs.complete(jobs.open_job(recipe, (), tmp_path / "run", seen.append))
        return seen

    return go


def texts(seen):
    return [event.text for event in seen if isinstance(event, Message)]


def states(seen):
    return {event.step: event.state for event in seen if isinstance(event, StepEnded)}


def test_the_same_command_finds_what_was_settled(complete, tmp_path):
    first = complete()
    found = read_json(tmp_path / "run" / time_budget.FILE)
    assert any(text.startswith("distill.minutes: measuring how fast") for text in texts(first))
    assert found["why"] in texts(first)
    assert any(" were foretold" in text for text in texts(first))
    assert found["epochs"] >= 1
    assert all(value >= 0 for value in found["rates"].values())
    assert found["rates"]["step_online_s"] > found["rates"]["step_s"]
    assert found["rates"]["write_byte_s"] > 0

    written = YAML(typ="safe", pure=True).load(tmp_path / "run" / "recipe.resolved.yaml")
    assert written["distill"]["minutes"] is None
    for key in ("epochs", "views", "teacher"):
        assert written["distill"][key] == found[key]
    report = read_json(tmp_path / "run" / "report.json")
    budget = report["training"]["time_budget"]
    assert budget.items() <= found.items()
    assert budget["minutes"] == 0.05

    again = complete()
    assert f"{found['why']}; as settled when this run began" in texts(again)
    assert not any("measuring" in text for text in texts(again))
    assert set(states(again).values()) == {"cached"}
    assert read_json(tmp_path / "run" / time_budget.FILE) == found
    assert jobs.reopen_job(tmp_path / "run", lambda event: None)  # `compressor export` finds it


def test_a_run_that_waits_for_labels_measures_nothing(complete, tmp_path):
    seen = complete({"label": {"budget": 4}, "data.labels": "labels.csv"})
    assert not any("measuring" in text for text in texts(seen))
    assert not (tmp_path / "run" / time_budget.FILE).exists()


def test_another_training_settles_anew(tmp_path, write_recipe):
    run = jobs.open_job(write_recipe(MINUTES), (), tmp_path / "run", lambda event: None)
    other = jobs.open_job(
        write_recipe({**MINUTES, "distill.batch": 9}), (), tmp_path / "run", lambda event: None
    )
    run.folder.mkdir()
    kept = time_budget.TimeBudget(
        key=time_budget._key(run, 32, 4),
        recipe=run.plan.digest,
        minutes=0.05,
        epochs=3,
        views=2,
        teacher="cached",
        foretold_s=2.0,
        why="because",
        rates=Rates(decode_s=0, teacher_s=0, student_s=0, step_cutting_s=0, step_s=0),
    )
    write_json(run.folder / time_budget.FILE, plain(kept))
    assert time_budget.kept(run, 32, 4) == kept
    assert time_budget.kept(run, 33, 4) is None
    assert time_budget.kept(other, 32, 4) is None
    assert time_budget.of_run(time_budget.applied(run, kept)) == kept
    assert time_budget.of_run(other) is None  # its epochs are its own
    path = run.folder / time_budget.FILE
    path.write_text(json.dumps({**plain(kept), "epochs": "many"}))
    with pytest.raises(InputError, match=r"time_budget.json: epochs: expected int"):
        time_budget.kept(run, 32, 4)


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({"distill.epochs": 2}, "distill.epochs"),
        ({"distill.shown": 2_000}, "distill.shown"),
        ({"distill.patience": "3x"}, "distill.patience"),
    ],
)
def test_minutes_beside_another_length_are_a_mistake_with_both_keys(write_recipe, changes, other):
    recipe = write_recipe({**MINUTES, **changes})
    with pytest.raises(InputError, match=f"distill.minutes: settles the epochs .* and {other}"):
        jobs.open_job(recipe, (), None, lambda event: None)


def test_distilling_from_python_takes_minutes_too(folder_of_images, tiny_teacher):
    student = {
        "model": "mobilenetv3_small_050",
        "weights": "none",
        "image_size": 32,
        "embedding": 16,
    }
    settings = {"batch": 8, "workers": 1, "device": "cpu", "minutes": 0.02}
    seen = []
    made = compressor.distill(
        folder_of_images, tiny_teacher, student, settings=settings, on_event=seen.append
    )
    assert len(made.epochs) >= 1
    assert any(text.startswith("distill.minutes 0.02: epochs: ") for text in texts(seen))
    with pytest.raises(InputError, match=r"distill\.minutes: .* distill\.epochs gives them"):
        compressor.distill(folder_of_images, tiny_teacher, student, epochs=2, settings=settings)
