"""`student.model: auto` where no candidate has weights: the first that fits, by measurement."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from compressor.pipeline.context import Run
from compressor.pipeline.settling import student_search
from compressor.pipeline.settling import weights as settled_weights
from compressor.recipe import plan as plans
from runtime.benchmark import latency_table
from runtime.documents import read_json
from runtime.errors import InputError, MissingDependencyError
from runtime.files import write_json
from runtime.results.scores import to_json

STUDENTS = ["mobilenetv3_small_075", "mobilenetv3_small_050"]

ROWS = {"mobilenetv3_small_075": (8.0, 4.0), "mobilenetv3_small_050": (3.0, 2.0)}


def from_table(plan, timings, require, rows=ROWS, **changes):
    """Search with a table."""
    first = plan(require)
    path = timings(first, rows, **changes)
    asked = plan(require, changes={"student.latency_table": str(path)})
    return student_search.search(Run(asked, path.parent / "run"))


# --- by a table ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("require", "chosen", "passed_over"),
    [
        ({"latency_p95_ms": 4.0}, "mobilenetv3_small_075", 0),
        ({"latency_p95_ms": 3.9}, "mobilenetv3_small_050", 1),
        ({"size_mb": 8.0}, "mobilenetv3_small_075", 0),
        ({"size_mb": 7.9}, "mobilenetv3_small_050", 1),
        ({"latency_p95_ms": 5, "size_mb": 3.0}, "mobilenetv3_small_050", 1),
    ],
)
def test_the_first_that_fits_every_gate(plan, timings, require, chosen, passed_over):
    found = from_table(plan, timings, require)
    assert found.chosen == chosen
    assert [row.fits for row in found.measured] == [False] * passed_over + [True]
    assert ("1 more capable did not" in found.why) == bool(passed_over)
    for gate in require:
        assert gate in found.why


def test_where_none_fits_it_says_what_was_measured(plan, timings):
    with pytest.raises(InputError, match="no candidate fits") as caught:
        from_table(plan, timings, {"latency_p95_ms": 1.0})
    assert "| mobilenetv3_small_050 | 3.00 | 2.00   |" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": 224}, "measured at image_size 224, not 32"),
        ({"batch": 8, "threads": 4}, "measured at batch 8, not 1, threads 4, not 1"),
        ({"stages": 2, "args": {"a": 1}}, r"measured at stages 2, not None, args {'a': 1}, not {}"),
        ({"from_scratch": []}, "small_075 was measured with weights, which is another network"),
        ({"models": []}, "lacks mobilenetv3_small_075, mobilenetv3_small_050"),
        ({"models": [{"model": "x"}]}, r"models\[0\].size_mb: missing"),
        ({"machine": None}, "machine: expected object, got null"),
        ({"schema_version": 99}, "version 99"),
        ({"schema_version": "x"}, "does not describe a table of latencies"),
    ],
)
def test_a_table_of_something_else_is_refused(plan, timings, changes, said):
    with pytest.raises(InputError, match=said):
        from_table(plan, timings, {"latency_p95_ms": 5}, **changes)


def test_a_table_of_another_machine_is_refused(plan, timings, tmp_path):
    path = timings(plan({"latency_p95_ms": 5}), ROWS)
    asked = {"student.latency_table": str(path)}
    elsewhere = plan({"latency_p95_ms": 5}, match="{cpu: 'no such CPU'}", changes=asked)
    with pytest.raises(InputError, match="not measured on the target device"):
        student_search.search(Run(elsewhere, tmp_path / "run"))


# --- by measuring here -----------------------------------------------------------------------


def test_another_machine_is_not_guessed_from_this_one(plan, tmp_path):
    elsewhere = plan({"latency_p95_ms": 5}, match="{cpu: 'no such CPU'}")
    with pytest.raises(MissingDependencyError, match="compressor candidates RECIPE") as caught:
        student_search.search(Run(elsewhere, tmp_path / "run"))
    assert "python -m runtime latency-table candidates" in str(caught.value)


def test_a_run_finds_its_student_once_and_reports_why(plan, tmp_path):
    """Sizes alone: they hold on every machine, and nothing is timed."""
    said = []
    asked = plan({"size_mb": 3.0}, match="{cpu: 'no such CPU'}")
    run = Run(asked, tmp_path / "run", observer=lambda event: said.append(event.text))  # type: ignore[attr-defined]
    run.folder.mkdir()
    settled = student_search.settled(run)
    assert settled.plan.recipe.student.model == "mobilenetv3_small_050"
    assert asked.recipe.student.model == "auto"  # what the user wrote
    assert settled.plan.digest == asked.digest
    found = read_json(run.folder / "student_search.json")
    assert [row["model"] for row in found["measured"]] == STUDENTS
    assert all(row["p95_ms"] is None for row in found["measured"])
    big, small = (row["size_mb"] for row in found["measured"])
    assert small < 3.0 < big
    assert to_json(student_search.found_for(settled)) == found

    said.clear()
    again = student_search.settled(run)
    assert again.plan.recipe == settled.plan.recipe
    assert len(said) == 1  # remembered, not looked for again
    other = Run(
        plan({"size_mb": 3.1}, students=STUDENTS[1:]),
        run.folder,
        observer=lambda event: said.append(event.text),  # type: ignore[attr-defined]
    )
    said.clear()
    student_search.settled(other, keep=False)
    assert "mobilenetv3_small_050 stands in for it" in said[-1]
    assert read_json(run.folder / "student_search.json") == found


def test_a_damaged_search_is_refused_with_the_wrong_field(plan, tmp_path):
    measured = [{"model": "x", "size_mb": "big"}]
    write_json(
        tmp_path / "student_search.json",
        {"key": "k", "chosen": "x", "why": "it fits", "measured": measured},
    )
    with pytest.raises(InputError, match=r"student_search.json: measured\[0\].size_mb"):
        student_search.settled(Run(plan({"size_mb": 3.0}), tmp_path))


def test_a_student_that_was_named_is_left_alone(write_recipe, tmp_path):
    run = Run(plans.load(write_recipe()), tmp_path / "nowhere")
    assert student_search.settled(run) is run
    assert student_search.found_for(run) is None


# --- on the device ---------------------------------------------------------------------------


def command(*words, cwd, module="compressor"):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(runtime.__file__).parents[1])},
        capture_output=True,
        text=True,
    )


def test_from_the_desk_to_the_device_and_back(plan, tmp_path):
    plan({"latency_p95_ms": 10_000}, students=STUDENTS[1:])
    done = command("candidates", "recipe.yaml", "--out", "candidates", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Next, on the device: python -m runtime latency-table candidates" in done.stderr
    done = command("latency-table", "candidates", cwd=tmp_path, module="runtime")
    assert done.returncode == 0, done.stderr
    assert "| mobilenetv3_small_050 |" in done.stdout
    (timed,) = latency_table.load(tmp_path / "latency.json").models
    assert 0 < timed.median_ms <= timed.p95_ms
    words = ["--set", "student.latency_table=latency.json", "--dry-run", "--json"]
    done = command("run", "recipe.yaml", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recipe"]["student"]["model"] == "mobilenetv3_small_050"
    assert not (tmp_path / "runs").exists()

    (tmp_path / "candidates" / "mobilenetv3_small_050.onnx").write_bytes(b"other")
    done = command("latency-table", "candidates", cwd=tmp_path, module="runtime")
    assert done.returncode == 2
    assert "missing or altered" in done.stderr
    done = command("latency-table", ".", cwd=tmp_path, module="runtime")
    assert (done.returncode, "no candidates.json" in done.stderr) == (2, True)


# --- mistakes in the recipe ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"require": {"agreement": 0.5}}, "set require.latency_p95_ms or require.size_mb"),
        ({"student.args": {"drop_rate": 0.1}}, "leave them out with model auto"),
        ({"student.weights": "teacher.safetensors"}, "use auto, hub, none or a folder of weights"),
        ({"student.latency_table": "nowhere.json"}, "no such file: .*nowhere.json"),
    ],
)
def test_what_does_not_go_with_auto_is_said_with_its_line(plan, tmp_path, changes, said):
    (tmp_path / "teacher.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=said) as caught:
        plan({"size_mb": 3.0}, changes=changes)
    assert "recipe.yaml" in str(caught.value)


def test_the_weights_of_the_one_that_is_found_are_settled_too(plan, tmp_path, empty_hub_cache):
    found = plan({"size_mb": 8}, changes={"student.weights": "auto"})
    said = []
    run = student_search.settled(Run(found, tmp_path / "run", said.append), keep=False)
    run = settled_weights.settled(run, keep=False)
    student = run.plan.recipe.student
    assert (student.model, student.weights) == (STUDENTS[0], "none")
    assert said[-1].text.startswith("student.weights: auto found none: the model hub http://")
