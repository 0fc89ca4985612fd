"""The folder of a run as it is at its end, and the events that a run sends."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from compressor.events import EpochEnded, RunEnded, RunStarted
from compressor.observers.tracking.follow import Follow
from compressor.observers.tracking.registry import observers

FIXTURES = Path(__file__).parents[3] / "fixtures"


@dataclass
class FinishedRun:
    """A run folder with recipe, report, bundle and two epochs; plays the run to an observer."""

    folder: Path

    def started(self):
        return RunStarted(name="tiny", folder=str(self.folder), steps=("distill", "check"))

    def epoch(self, number):
        line = json.loads((self.folder / "train.jsonl").read_text().splitlines()[number])
        return EpochEnded(
            epoch=number, epochs=1, lr=line["lr"], head_loss=line["head_loss"],
            student_loss=line["student_loss"], scores={"similarity": line["similarity"]},
            best_so_far=True, seconds=line["seconds"],
        )  # fmt: skip

    def play(self, tracker, *events):
        """Send events to a tracker, by name or as an object; return what it tells the user."""
        told = []
        followed = (
            observers([tracker], told.append)[0]
            if isinstance(tracker, str)
            else Follow(tracker, told.append)
        )
        for event in events:
            followed(event)
        return told

    def play_all(self, tracker):
        done = RunEnded(outcome="done", seconds=3.0)
        return self.play(tracker, self.started(), self.epoch(0), self.epoch(1), done)

    def play_failed(self, tracker, error="labels.csv: no such image"):
        failed = RunEnded(outcome="failed", seconds=1.0, error=error)
        return self.play(tracker, self.started(), self.epoch(0), failed)


@pytest.fixture
def finished_run(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / "bundle_v1", folder / "bundle")
    shutil.copy(FIXTURES / "report_v1.json", folder / "report.json")
    (folder / "recipe.resolved.yaml").write_text(
        "name: tiny\ndata: {holdout: 0.25, ood: null}\n"
        "distill: {method: tintem, epochs: 1, center: true}\nexport: {precisions: [fp32, int8]}\n"
    )
    (folder / "report.md").write_text("# tiny: passed\n")
    (folder / "report.html").write_text("<h1>tiny</h1>\n")
    (folder / "events.jsonl").write_text('{"type":"runstarted"}\n')
    lines = (
        {"epoch": 0, "lr": 0.0, "head_loss": None, "student_loss": None, "similarity": 0.25,
         "best_so_far": True, "seconds": 1.0},
        {"epoch": 1, "lr": 0.5, "head_loss": 0.125, "student_loss": 2.0, "similarity": 0.75,
         "best_so_far": True, "seconds": 1.5},
    )  # fmt: skip
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return FinishedRun(folder)


@pytest.fixture
def accuracy():
    """Accuracy of the last file in the fixture's ledger, and its name as a figure."""
    entry = json.loads((FIXTURES / "report_v1.json").read_text())["ledger"][-1]
    return f"{entry['stage']}/accuracy_knn", entry["accuracy_knn"], entry["accuracy_knn_ci"][0]
