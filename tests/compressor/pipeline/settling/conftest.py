"""A recipe that looks for its student, and tables of latencies as a device would write them."""

import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from compressor.cli import app
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans
from runtime.benchmark import machine
from runtime.benchmark.latency_table import LatencyTable, Timed
from runtime.documents import plain
from runtime.files import write_json

STUDENTS = ["mobilenetv3_small_075", "mobilenetv3_small_050"]


@pytest.fixture
def plan(write_recipe, tmp_path):
    """`plan(require, match, students, **changes)`: of a recipe that looks for its student."""

    def go(require, *, match="{}", students=STUDENTS, changes=None):
        target = tmp_path / "device.yaml"
        lines = [f"students: [{', '.join(students)}]", f"match: {match}", "batches: [1, 2]"]
        target.write_text("\n".join(["description: a device", "threads: 1", *lines]))
        written = {"student.model": "auto", "target": "device.yaml", "require": require}
        return plans.load(write_recipe({**written, **(changes or {})}))

    return go


@pytest.fixture
def timings(tmp_path):
    """`timings(plan, big=(MB, ms), ...)`: a table as the device would write it."""

    def go(plan, rows, **changes):
        path = tmp_path / "latency.json"
        table = LatencyTable(
            image_size=32,
            embedding=plan.recipe.student.embedding,
            batch=1,
            provider="cpu",
            threads=1,
            machine=machine.describe(),
            models=tuple(Timed(name, mb, ms / 2, ms, 20) for name, (mb, ms) in rows.items()),
        )
        write_json(path, plain(table) | changes)
        return path

    return go


# --- candidates with weights ---------------------------------------------------------------

TWIN, OTHER = "test_vit", "test_resnet"
"""The teacher's own network, with its weights; and one that does not see the colours, by which
the images differ."""
ROWS = {TWIN: (2.0, 4.0), OTHER: (1.5, 2.0)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with the weights of models, named after them; the teacher's among them."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for name in (TWIN, OTHER):
            state = timm.create_model(name).state_dict()
            if name == OTHER:
                first = state["conv1.0.weight"]
                state["conv1.0.weight"] = first.mean(1, keepdim=True).expand_as(first).contiguous()
            save_file(state, folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def recipe(plan, timings, weights):
    """`recipe(require, **changes)`: of a run that looks for a student, by a table of latencies."""

    def go(require, *, students=(OTHER, TWIN), rows=ROWS, **changes):
        written = {
            "teacher": {"model": TWIN, "weights": str(weights), "image_size": 32},
            "student.weights": str(weights),
            **changes,
        }
        first = plan(require, students=students, changes=written)
        written["student.latency_table"] = str(timings(first, rows))
        return plan(require, students=students, changes=written)

    return go


@pytest.fixture
def started(tmp_path):
    """`started(plan)`: a run of which the images are read, and what it has said."""

    def go(asked):
        said = []
        run = Run(asked, tmp_path / "run", said.append)
        with run.locked():
            runner.run_images(run)
        return run, said

    return go


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.commands, ["candidates", "recipe.yaml", *words])
