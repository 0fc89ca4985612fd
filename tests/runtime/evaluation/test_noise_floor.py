"""Two builds of the FP32 file: what they differ by is no loss, and what is more is one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import UNSET, structs

import runtime
from runtime.backends.base import SessionOptions
from runtime.backends.ort import OrtSession
from runtime.backends.ort_library import session_options
from runtime.benchmark import opened_files
from runtime.report import compare, markdown
from runtime.results.ledger import NoiseFloor
from runtime.results.report import Report
from runtime.results.scores import Score, from_json, to_json

HEAD = np.array([[1.0, -1.0], [0.25, 0.0], [-1.0, 1.0]], np.float32)
METRIC = "total_variation"


def check(folder):
    """The report, and its table of losses as rows of cells by stage."""
    report = runtime.check(folder)
    _, _, text = markdown.markdown(report).partition("## Loss at each step")
    lines = [line.strip("|").split("|") for line in text.split("##")[0].splitlines() if "|" in line]
    rows = [[cell.strip() for cell in line] for line in lines]
    column = rows[0].index("probability distance")
    return report, {row[0]: row[column] for row in rows}


@pytest.fixture
def planted(make_bundle, onnx_bytes, tmp_path, monkeypatch):
    """A bundle whose second build answers a little more surely, and two more files that do so."""
    path = tmp_path / "another_build.onnx"
    path.write_bytes(onnx_bytes(head=1.01 * HEAD))
    build = opened_files.built_twice

    def another(*given):
        (found,) = build(*given)
        session = OrtSession(path, SessionOptions(threads=1))
        return [replace(found, session=session)]

    monkeypatch.setattr(opened_files, "built_twice", another)
    return make_bundle(
        models={
            "onnx-fp32": onnx_bytes(),
            "below": onnx_bytes(head=1.001 * HEAD),
            "above": onnx_bytes(head=1.5 * HEAD),
        }
    )


def test_a_loss_below_the_floor_is_none_and_one_above_it_is(planted):
    report, told = check(planted)
    floor = report.noise_floor
    assert floor.stage == "onnx-fp32"
    below, above = (
        report.entry(stage).loss_against_before.scores[METRIC].value for stage in ("below", "above")
    )
    assert 0 < abs(below) < abs(floor.scores[METRIC].value) < abs(above)
    assert told["below"].endswith("(no loss)")
    assert " to " in told["above"]
    assert told["onnx-fp32, built twice"] == f"± {abs(floor.scores[METRIC].value):.1g}"


def test_the_second_build_stands_beside_the_ledger_and_is_not_timed(planted):
    report = runtime.check(planted)
    stages = [entry.stage for entry in report.ledger]
    assert stages == ["teacher", "student", "onnx-fp32", "below", "above"]
    again = from_json(json.loads(json.dumps(to_json(report))), Report, Path("report.json"))
    assert again.noise_floor == report.noise_floor
    assert METRIC in to_json(report)["noise_floor"]


def test_two_builds_of_a_sound_file_hardly_differ(sound_bundle):
    floor = runtime.check(sound_bundle).noise_floor
    assert floor.builds == "with and without graph optimisations"
    assert max(abs(score.value) for score in floor.scores.values()) < 1e-4
    from onnxruntime import GraphOptimizationLevel as Level

    assert session_options(1, optimised=False).graph_optimization_level == Level.ORT_DISABLE_ALL
    assert session_options(1).graph_optimization_level == Level.ORT_ENABLE_ALL


def test_there_is_no_floor_without_a_float_file_and_with_tensorrt(sound_bundle, tmp_path):
    def opened(**changes):
        loaded = runtime.load(sound_bundle).bundle
        artifact = replace(loaded.artifacts[0], **changes)
        return [opened_files.Opened(artifact, None, 0, 0, "cpu", None)]

    assert len(opened_files.built_twice(opened(), "cpu", 1)) == 1
    assert opened_files.built_twice(opened(), "tensorrt", 1) == []
    assert opened_files.built_twice(opened(precision="int8"), "cpu", 1) == []
    assert opened_files.built_twice(opened(path=tmp_path / "a.engine"), "cpu", 1) == []


def test_reports_are_compared_with_the_floor_in_mind(sound_bundle):
    report, metric = runtime.check(sound_bundle), "agreement_linear"

    def with_score(value, floor=0.01):
        """As if over many images: nothing but the value."""
        score, noise = ({metric: Score(each, each, each)} for each in (value, floor))
        *others, file = report.ledger
        return structs.replace(
            report,
            ledger=(*others, structs.replace(file, scores=score)),
            noise_floor=NoiseFloor(stage="onnx-fp32", builds="as here", scores=noise),
        )

    first = with_score(0.9)
    outcomes = [compare.changes(first, with_score(each))[0].outcome for each in (0.895, 0.88, 0.92)]
    assert outcomes == ["not distinguishable", "worse", "better"]
    older, other = (structs.replace(each, noise_floor=UNSET) for each in (first, with_score(0.895)))
    assert compare.changes(older, other)[0].outcome == "worse"
