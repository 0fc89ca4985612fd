"""The whole job through Python: results, events, and errors that are typed exceptions."""

import json
from pathlib import Path

import pytest

import compressor
import runtime
from compressor import events
from compressor.api.job import assignments_of

pytestmark = pytest.mark.usefixtures("capfd")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, folder_of_images, tiny_teacher):
    """A run from a folder of images, and the events it sent."""
    seen = []
    result = compressor.compress(
        folder_of_images,
        teacher=tiny_teacher,
        student={
            "model": "mobilenetv3_small_050",
            "weights": "none",
            "image_size": 32,
            "embedding": 16,
        },
        out=tmp_path_factory.mktemp("api") / "run",
        overrides={
            "distill": {"epochs": 1, "batch": 8, "views": 1, "workers": 1, "device": "cpu"},
            "check.robustness_images": 0,
            "require.size_mb": 1e-6,
        },
        on_event=seen.append,
    )
    return result, seen


def test_from_a_folder_to_a_checked_bundle(finished):
    result, _ = finished
    assert result.outcome == "done"
    assert result.passed is False  # no file is so small: a verdict, not an exception
    assert all(path.exists() for path in result.files.values())
    assert result.report.recipe.name == result.name
    assert "failed (missed size_mb" in result.summary
    assert "python -m runtime check bundle" in result.next_step
    assert result.load().classes == ("blue", "red")
    assert runtime.check(result.bundle).recipe.name == result.name


def test_the_events_tell_the_run_in_order(finished):
    result, seen = finished
    steps = [event.step for event in seen if isinstance(event, events.StepStarted)]
    assert steps == list(next(e.steps for e in seen if isinstance(e, events.RunStarted)))
    ended = [event.step for event in seen if isinstance(event, events.StepEnded)]
    assert ended == steps
    planned = next(event for event in seen if isinstance(event, events.WorkPlanned))
    assert {work.step for work in planned.work} <= set(steps)
    parts = [(step.step, step.part, step.seconds) for step in planned.uncounted]
    assert (
        parts
        == [  # the folder is new: nothing was made in it before
            ("backbone", "export", None),
            *((step, "export", None) for step in steps[steps.index("robustness") + 1 : -1]),
            ("check", "check", None),
        ]
    )
    assert seen[-1] == events.RunEnded(outcome="done", seconds=seen[-1].seconds)
    written = (result.folder / "events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["type"] for line in written]
    assert [kinds.count(kind) for kind in ("runstarted", "stepstarted", "runended")] == [
        1,
        len(steps),
        1,
    ]


def test_the_recipe_in_the_folder_runs_it_again_unchanged(finished):
    result, _ = finished
    seen = []
    origin = json.loads((result.folder / "recipe.json").read_text())
    changes = dict(text.split("=", 1) for text in origin["overrides"])
    again = compressor.run(
        result.folder / "recipe.yaml",
        out=str(result.folder),
        overrides={key: json.loads(value) for key, value in changes.items()},
        on_event=seen.append,
    )
    assert again.student == result.student
    states = [event.state for event in seen if isinstance(event, events.StepEnded)]
    assert set(states[:5]) == {"cached"}


def test_a_run_that_waits_for_labels_says_so(write_recipe, tmp_path):
    recipe = write_recipe({"data.labels": "labels.csv", "label.budget": 4})
    result = compressor.run(recipe, out=tmp_path / "run")
    assert (result.outcome, result.passed, result.report) == ("waiting for labels", None, None)
    assert result.files["html"].is_file()
    assert (result.selection.open, result.selection.labelled) == (4, 0)
    with pytest.raises(compressor.InputError, match="waits for labels"):
        _ = result.bundle


def test_what_an_observer_raises_ends_the_run_as_such(write_recipe, tmp_path):
    def broken(event):
        if isinstance(event, events.StepEnded):
            raise ZeroDivisionError("a bug of the tracker")

    with pytest.raises(ZeroDivisionError, match="a bug of the tracker"):
        compressor.run(write_recipe(), out=tmp_path / "run", on_event=broken)


def test_a_run_with_a_store_of_its_own_begins(write_recipe, tmp_path, monkeypatch):
    """What is tried early is kept in that store, which then is in the folder before the lock."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    out = tmp_path / "run"

    def stop(event):
        if isinstance(event, events.StepStarted):
            raise ZeroDivisionError(event.step)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="images"):
            compressor.run(write_recipe(), out=out, on_event=stop)
    (out / ".lock").unlink()
    (out / "text").write_text("precious")
    with pytest.raises(compressor.InputError, match="holds other files"):
        compressor.run(write_recipe(), out=out)


BAD_RUNS = {
    "typo in a key": ({"distill.epohcs": 3}, "did you mean epochs"),
    "unknown model": ({"student.model": "mobilenetv3_smal_050"}, "did you mean mobilenetv3_small"),
    "no images": ({"data.images": "nowhere"}, "nowhere"),
    "no teacher": ({"teacher.weights": "nowhere.safetensors"}, "no such file"),
    "unknown target": ({"target": "toaster"}, "toaster"),
}


@pytest.mark.parametrize(("overrides", "message"), BAD_RUNS.values(), ids=BAD_RUNS.keys())
def test_bad_input_raises_an_input_error(write_recipe, tmp_path, capfd, overrides, message):
    with pytest.raises(compressor.InputError, match=message):
        compressor.run(write_recipe(), out=tmp_path / "run", overrides=overrides)
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "run" / "student.safetensors").exists()


def test_a_wrong_override_is_named_as_the_caller_gave_it(write_recipe, tmp_path, folder_of_images):
    for call in (
        lambda: compressor.run(write_recipe(), overrides={"distill.epochs": -1}),
        lambda: compressor.compress(
            folder_of_images, out=tmp_path / "run", overrides={"distill.epochs": -1}
        ),
    ):
        with pytest.raises(
            compressor.InputError, match=r"^overrides distill\.epochs=-1: "
        ) as error:
            call()
        assert "--set" not in str(error.value)


def test_a_file_in_the_place_of_the_folder_raises_an_input_error(
    write_recipe, tmp_path, folder_of_images
):
    (tmp_path / "file").touch()
    with pytest.raises(compressor.InputError, match=r"file/run.*: Not a directory\. Choose"):
        compressor.run(write_recipe(), out=tmp_path / "file" / "run")
    with pytest.raises(compressor.InputError, match="Not a directory"):
        compressor.compress(folder_of_images, out=tmp_path / "file" / "run")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_raises_a_missing_dependency_error(write_recipe, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(compressor.MissingDependencyError, match="no space left on this disk"):
        compressor.run(write_recipe(), out=folder)


def test_other_bad_input_raises_too(tmp_path, write_recipe, capfd):
    with pytest.raises(compressor.InputError, match="no such file"):
        compressor.run(tmp_path / "recpe.yaml")
    with pytest.raises(compressor.InputError, match="no such folder"):
        compressor.compress(tmp_path / "photos")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("precious")
    with pytest.raises(compressor.InputError, match="holds other files"):
        compressor.run(write_recipe(), out=tmp_path / "mine")
    with pytest.raises(compressor.InputError, match="not a bundle"):
        runtime.load(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_what_this_machine_lacks_raises_another_error(write_recipe, tmp_path, capfd):
    overrides = {"distill.precision": "fp16", "distill.device": "cpu"}
    with pytest.raises(compressor.MissingDependencyError, match="needs a GPU"):
        compressor.run(write_recipe(), out=tmp_path / "run", overrides=overrides)
    assert capfd.readouterr() == ("", "")


def test_overrides_become_yaml(tmp_path):
    overrides = {"a.b": 2, "c": None, "d": {"e": [1, 2.5, True]}, "f": tmp_path}
    assert assignments_of(overrides) == [
        "a.b=2",
        "c=null",
        'd={"e": [1, 2.5, true]}',
        f'f="{tmp_path}"',
    ]
