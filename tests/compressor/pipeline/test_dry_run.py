"""What a dry run says: numbers of images, steps with their seconds, epochs of a time."""

import pytest

from compressor.api import job as jobs
from compressor.pipeline import dry_run
from compressor.pipeline.settling import time_budget
from runtime.errors import InputError


@pytest.fixture
def rehearse(write_recipe, tmp_path):
    def go(changes=None):
        recipe = write_recipe({"check.robustness_images": 2, **(changes or {})})
        return jobs.rehearse(jobs.open_job(recipe, (), tmp_path / "run", lambda event: None))

    return go


def test_before_the_first_run_images_are_counted_by_their_files(rehearse, tmp_path):
    found = rehearse()
    estimate = found.estimate
    assert estimate.images == 32  # 48 files less a quarter held out and a tenth for validation
    assert estimate.student_steps == 4
    assert estimate.on_top == ("golden", "to_onnx", "bundle", "check")
    steps = {step.stage: step.seconds for step in found.stages}
    assert all(steps[step] > 0 for step in ("images", "embeddings", "distill", "robustness"))
    assert estimate.total_s == pytest.approx(sum(each for each in steps.values() if each))
    assert estimate.first_bundle_s == 0
    told = dry_run.text(found)
    assert "| golden     | waits |" in told
    assert "and what was never timed here: golden, to_onnx, bundle, check" in told
    assert not (tmp_path / "run").exists()


def test_the_epochs_of_a_time_are_shown_and_kept_by_nobody(rehearse, tmp_path):
    changes = {"distill.minutes": 0.05, "distill.epochs": None, "distill.views": None}
    found = rehearse(changes)
    assert found.recipe["distill"]["minutes"] is None
    assert found.recipe["distill"]["epochs"] >= 1
    assert not (tmp_path / "run" / time_budget.FILE).exists()


def test_a_method_that_learns_from_labels_is_timed_without_them(rehearse):
    found = rehearse({"distill.method": "supervised"})
    assert {step.stage: step.seconds for step in found.stages}["features"] == 0


def test_too_few_images_to_train_on_are_refused_before_anything_is_measured(rehearse):
    """48 files less a quarter held out and 97 % for validation: one, and a batch needs three."""
    with pytest.raises(InputError, match=r"too few to train on, .*distill\.validation"):
        rehearse({"distill.validation": 0.97})
