"""A student that has weights is a checked bundle before it is trained."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from compressor.events import EpochEnded, Message, StepEnded, StepStarted
from compressor.models.encoder import create_student
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.pipeline.settling.training_defaults import with_training_defaults
from compressor.recipe import plan as plans
from compressor.recipe.schema import Student
from runtime.bundle import bundle

STUDENT = {"model": "test_efficientnet", "image_size": 32, "embedding": 16}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a small CNN, with batch norms that have seen images."""
    backbone = create_student(Student(**STUDENT, weights="none"), seed=3).module.backbone
    with torch.no_grad():
        for seed in range(20):
            backbone.train()(2 * torch.rand(16, 3, 32, 32, generator=torch.manual_seed(seed)))
    path = tmp_path_factory.mktemp("weights") / "student.safetensors"
    save_file({key: value.contiguous() for key, value in backbone.state_dict().items()}, path)
    return path


@pytest.fixture
def run_of(write_recipe, weights, tmp_path):
    """Make a run of the recipe with these changes; its events are collected."""

    def make(changes=None, observer=None):
        keys = {f"student.{key}": value for key, value in STUDENT.items()}
        recipe = write_recipe({**keys, "student.weights": str(weights), **(changes or {})})
        events = []

        def observe(event):
            events.append(event)
            if observer is not None:
                observer(event)

        run = Run(plans.load(recipe), tmp_path / "run", observe)
        return with_training_defaults(run), events

    return make


def run_all(run):
    with run.locked():
        return runner.run_all(run)


def started(events):
    return [event.step for event in events if isinstance(event, StepStarted)]


def stages_of_report(folder):
    return [entry["stage"] for entry in json.loads((folder / "report.json").read_text())["ledger"]]


def test_an_interrupted_training_leaves_a_checked_bundle(run_of):
    def interrupt(event):
        if isinstance(event, EpochEnded) and event.epoch == 1:
            raise KeyboardInterrupt

    run, events = run_of({"export.precisions": ["fp32", "fp16"]}, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_all(run)
    assert stages_of_report(run.folder) == ["teacher", "student", "onnx-fp32"]
    assert [each.stage for each in bundle.load(run.folder / "bundle").document.artifacts] == [
        "onnx-fp32"
    ]
    assert started(events)[-1] == "distill"
    assert any("first bundle:" in e.text for e in events if isinstance(e, Message))

    run, events = run_of({"export.precisions": ["fp32", "fp16"]})  # continued
    assert run_all(run) == "done"
    assert stages_of_report(run.folder) == ["teacher", "student", "onnx-fp32", "onnx-fp16"]
    assert started(events).count("check") == 1  # the first bundle is there already

    report = json.loads((run.folder / "report.json").read_text())
    assert set(report["before_training"]) == {"closed_form", "raw"}


def test_ctrl_c_before_anything_is_solved_is_ctrl_c(run_of):
    def interrupt(event):
        if isinstance(event, StepStarted) and event.step == "start":
            raise KeyboardInterrupt

    run, events = run_of({}, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_all(run)
    assert started(events)[-1] == "start"


def test_a_stopped_training_leaves_a_bundle_of_its_best_student(run_of):
    def stop(event):
        if isinstance(event, EpochEnded) and event.epoch == 3:
            raise KeyboardInterrupt

    longer = {
        "distill.epochs": 6,
        "distill.lr": 3e-3,
        "distill.validation": 0.3,
        "distill.synthetic": 0,  # a start that the first epochs can pass
    }
    run, events = run_of(longer, stop)
    with pytest.raises(KeyboardInterrupt):
        run_all(run)
    best = max(e.epoch for e in events if isinstance(e, EpochEnded) and e.best_so_far)
    assert best > 0, "the learning rate of this test gives no better student"
    report = json.loads((run.folder / "report.json").read_text())
    assert report["training"]["kept_epoch"] == best
    told = report["training"]
    assert told["stopped_early"] is True
    stopped = load_file(run.folder / "student.safetensors")

    run, events = run_of(longer)  # continues the training, and ends as if it had not been stopped
    assert run_all(run) == "done"
    report = json.loads((run.folder / "report.json").read_text())
    assert report["training"]["epochs"] == 6
    assert "stopped_early" not in report["training"]
    for key in ("images", "views", "mixed_views", "batch", "start"):
        assert told.get(key) == report["training"].get(key)
    ended = load_file(run.folder / "student.safetensors")
    # The layer is solved once more at the end of a training, never in one that was stopped
    backbone = [key for key in ended if key.startswith("backbone.")]
    same = [torch.equal(stopped[key], ended[key]) for key in backbone]
    assert all(same) == (report["training"]["kept_epoch"] == best)


@pytest.mark.parametrize(
    "changes", [{"student.weights": "none"}, {"distill.epochs": 0}], ids=["from scratch", "solved"]
)
def test_a_run_without_training_from_weights_makes_one_bundle(run_of, changes):
    run, events = run_of(changes)
    assert run_all(run) == "done"
    assert started(events).count("bundle") == 1
    made = {event.step for event in events if isinstance(event, StepEnded)}
    assert ("start" in made) == ("student.weights" not in changes)


def test_a_run_that_waits_for_labels_makes_none(run_of, tmp_path):
    run, events = run_of({"data.labels": "none", "label": {"budget": 10, "strategy": "random"}})
    assert run_all(run) == "waiting"
    assert "bundle" not in started(events)
    assert started(events).count("selection") == 1
