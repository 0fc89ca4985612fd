"""What holds for every tracker: one that is down, one that comes back, one not installed."""

import json

import pytest

import compressor
from compressor.events import Message, RunEnded
from compressor.observers.tracking import registry
from compressor.observers.tracking.follow import Follow


class Notebook:
    """A tracker that keeps everything in memory, and is down when it is told to be."""

    name = "notebook"

    def __init__(self):
        self.down = False
        self.begun, self.epochs, self.ended = [], [], []

    def begin(self, run):
        self._ask()
        self.begun.append(run)
        return "id-1", "http://user:pw@notebook/id-1"

    def log(self, figures, epoch):
        self._ask()
        self.epochs.append(epoch)

    def end(self, ended):
        self._ask()
        self.ended.append(ended)

    def _ask(self):
        if self.down:
            raise ConnectionError("http://user:hunter2@notebook/api?token=abc refused")


def test_a_tracker_that_goes_down_is_told_once_and_the_run_goes_on(finished_run):
    notebook, told = Notebook(), []
    followed = Follow(notebook, told.append)
    followed(finished_run.started())
    notebook.down = True
    for event in (finished_run.epoch(0), finished_run.epoch(1)):
        followed(event)
    followed(RunEnded(outcome="done", seconds=1.0))
    warnings = [event for event in told if event.level == "warning"]
    assert len(warnings) == 1
    assert "not tracked from here on" in warnings[0].text
    assert "--track notebook" in warnings[0].text
    assert "hunter2" not in str(told)
    assert "abc" not in str(told)
    assert ":pw@" not in str(told)


def test_the_same_command_sends_what_is_missing(finished_run):
    notebook = Notebook()
    followed = Follow(notebook, lambda event: None)
    followed(finished_run.started())
    followed(finished_run.epoch(0))
    notebook.down = True
    followed(finished_run.epoch(1))
    notebook.down = False
    # Everything is cached now: no epoch is trained again.
    finished_run.play(notebook, finished_run.started(), RunEnded(outcome="done", seconds=1.0))
    assert [run.id for run in notebook.begun] == [None, "id-1"]
    assert notebook.epochs == [0, 1]
    assert [ended.outcome for ended in notebook.ended] == ["done"]
    assert json.loads((finished_run.folder / "tracking.json").read_text()) == {}


def test_another_recipe_is_another_run(finished_run):
    notebook = Notebook()
    finished_run.play_failed(notebook)
    recipe = finished_run.folder / "recipe.resolved.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 1", "epochs: 2"))
    finished_run.play_failed(notebook)
    assert [run.id for run in notebook.begun] == [None, None]
    assert notebook.begun[1].parameters["distill.epochs"] == 2


def test_a_damaged_note_of_what_goes_on_begins_a_new_run(finished_run):
    (finished_run.folder / "tracking.json").write_text('{"notebook": 3')
    notebook = Notebook()
    finished_run.play_all(notebook)
    assert notebook.begun[0].id is None
    assert [ended.outcome for ended in notebook.ended] == ["done"]


def test_a_failed_run_has_its_reason_without_secrets_and_no_old_report(finished_run, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-value")
    notebook = Notebook()
    finished_run.play_failed(notebook, "https://me:pw@host/x?sig=1 refused s3cr3t-value")
    ended = notebook.ended[0]
    assert ended.reason == "https://host/x refused ***"
    assert {path.name for path in ended.files} == {"recipe.resolved.yaml", "events.jsonl"}
    assert not ended.figures
    finished_run.play_failed(notebook, error="")
    assert notebook.ended[1].outcome == "stopped"


def test_a_tracker_that_is_not_installed_is_refused_first(monkeypatch, write_recipe, tmp_path):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    told = []
    with pytest.raises(compressor.MissingDependencyError, match=r"\[mlflow,wandb\]"):
        compressor.run(
            write_recipe(),
            out=tmp_path / "run",
            on_event=told.append,
            track=["mlflow", "wandb", "mlflow"],
        )
    assert not told
    assert not (tmp_path / "run").exists()
    with pytest.raises(compressor.InputError, match="tensorboard, mlflow, wandb"):
        compressor.run(write_recipe(), track=["tensorbord"])


def test_messages_of_a_tracker_are_in_the_log(write_recipe, tmp_path, monkeypatch):
    """events.jsonl and the user's observer have them, as every other message."""
    from compressor.api.job import open_job

    monkeypatch.setattr(registry, "require", lambda names: None)
    notebook = Notebook()
    notebook.down = True
    monkeypatch.setattr(registry, "_tracker", lambda name: notebook)
    told = []
    job = open_job(write_recipe(), (), tmp_path / "run", told.append, track=["notebook"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.resolved.yaml").write_text("name: tiny\n")
    job.observer(compressor.RunStarted(name="tiny", folder=str(tmp_path / "run"), steps=()))
    assert isinstance(told[1], Message)
    log = (tmp_path / "run" / "events.jsonl").read_text()
    assert "not tracked" in log
    assert "hunter2" not in log
