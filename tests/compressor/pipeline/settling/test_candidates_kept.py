"""What a search measures, in which order, and that it measures it once."""

import pytest

from compressor.pipeline.context import Run
from compressor.pipeline.settling import export_trial, latencies, student_search
from compressor.pipeline.settling.candidates import Candidate
from compressor.pipeline.settling.choice import ruled_out_by
from compressor.recipe.schema import Student
from runtime.benchmark import latency_table
from runtime.benchmark.latency_table import Timed
from runtime.documents import plain
from runtime.errors import InputError
from runtime.files import write_json
from runtime.report.sections.students import sentences
from student_from_file import student_from_file

BIG, SMALL = "mobilenetv3_small_075", "mobilenetv3_small_050"


@pytest.fixture
def timed(monkeypatch):
    """The models that were timed, in their order; no clock is used."""
    found = []

    def time_model(model, path, setting):
        found.append(model)
        ms = {BIG: 4.0, SMALL: 2.0}[model]
        return Timed(model, path.stat().st_size / 1e6, ms, ms, 60)

    monkeypatch.setattr(latency_table, "time_model", time_model)
    return found


@pytest.fixture
def search(plan, tmp_path, monkeypatch):
    """`search(require)`: in a folder of its own; what was found, and what was said."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "cache"))

    def go(require, **how):
        said = []
        observe = said.append
        run = Run(plan(require, **how), tmp_path / "run", observer=observe)
        run.folder.mkdir(exist_ok=True)
        return student_search.search(run), said

    return go


@pytest.mark.parametrize(
    ("size_mb", "p95_ms", "limits", "over"),
    [
        (3, 4, {}, ()),
        (3, 4, {"size_mb": 3, "latency_p95_ms": 4}, ()),
        (3.1, 4, {"size_mb": 3, "latency_p95_ms": 4}, ("size_mb",)),
        (3, 4.1, {"size_mb": 3, "latency_p95_ms": 4}, ("latency_p95_ms",)),
        (3.1, 9, {"size_mb": 3, "latency_p95_ms": 4}, ("size_mb",)),  # that is enough
        (3.1, None, {"size_mb": 3, "latency_p95_ms": 4}, ("size_mb",)),
        (3, None, {"latency_p95_ms": 4}, ("latency_p95_ms",)),
    ],
)
def test_which_limit_rules_a_candidate_out(size_mb, p95_ms, limits, over):
    assert ruled_out_by(Timed("m", size_mb, p95_ms, p95_ms, None), limits) == over


def test_one_that_is_too_large_is_not_timed(search, timed):
    found, _ = search({"size_mb": 3.0, "latency_p95_ms": 5})
    assert timed == [SMALL]
    assert found.chosen == SMALL
    big, small = found.measured
    assert (big.p95_ms, big.ruled_out_by, big.fits) == (None, ("size_mb",), False)
    assert (small.p95_ms, small.fits) == (2.0, True)


def test_the_limit_that_ruled_it_out_is_said(search, timed):
    with pytest.raises(InputError, match="no candidate fits") as caught:
        search({"size_mb": 3.0, "latency_p95_ms": 1})
    big, small = str(caught.value).split(BIG)[1].splitlines()[:2]
    assert "no: over size_mb" in big
    assert "no: over latency_p95_ms" in small


def test_what_was_measured_is_kept_for_another_limit(search, timed):
    assert search({"latency_p95_ms": 5})[0].chosen == BIG
    assert search({"latency_p95_ms": 3})[0].chosen == SMALL
    assert search({"latency_p95_ms": 2.5})[0].chosen == SMALL
    assert timed == [BIG, SMALL]


def test_what_was_measured_from_scratch_is_not_that_with_weights(plan, tmp_path, monkeypatch):
    """With weights more stages feed the embedding layer: the file is another one."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "cache"))
    asked, keys = plan({"size_mb": 9}), {"model": "test_efficientnet", "image_size": 32}
    run = Run(asked, tmp_path / "run")

    def size_mb(spec):
        candidates = [Candidate(spec, "")]
        (tried,) = latencies.timings(asked, candidates, {}, timed=False, shared=run.shared)
        return tried.timed.size_mb

    assert size_mb(student_from_file(keys, tmp_path)) > 1.2 * size_mb(
        Student(**keys, weights="none")
    )


# --- candidates that cannot be used ------------------------------------------------------------

NEVER = "efficientformer_l1"
"""It cannot take images of 32 px."""
WHY = f"{NEVER}: cannot take images of 32 px"


def test_one_that_cannot_be_built_or_exported_is_named_and_passed_over(search, timed):
    for _ in range(2):  # the second time what was found is remembered
        found, _ = search({"latency_p95_ms": 5}, students=[NEVER, SMALL])
        assert found.chosen == SMALL
        assert found.passed_over[NEVER].startswith(WHY)
        assert [row.model for row in found.measured] == [SMALL]
        assert sentences(found)[0].startswith(f"`{NEVER}` was passed over: {WHY}")
    assert timed == [SMALL]


def test_one_whose_file_answers_otherwise_is_passed_over(search, timed, monkeypatch):
    exported = export_trial.export_as_is

    def spoil(student, path, metadata):
        if student.name == BIG:
            raise InputError("this student's ONNX file answers other than the student\n  more")
        exported(student, path, metadata)

    monkeypatch.setattr(export_trial, "export_as_is", spoil)
    found, _ = search({"latency_p95_ms": 5})
    assert found.chosen == SMALL
    assert found.passed_over == {BIG: "this student's ONNX file answers other than the student"}


def test_where_none_can_be_used_each_is_named(search, timed):
    with pytest.raises(InputError, match="no candidate fits") as caught:
        search({"latency_p95_ms": 5}, students=[NEVER])
    assert f"`{NEVER}` was passed over: {WHY}" in str(caught.value)


def test_on_the_way_to_the_device_they_are_named_too(plan, tmp_path, monkeypatch):
    """One cannot be exported here, one cannot run there; the third is chosen from the table."""
    said, bad, good = [], "test_convnext", "test_resnet"
    asked = plan({"latency_p95_ms": 1e6}, students=[NEVER, bad, good])
    latencies.write_candidates(asked, tmp_path / "candidates", said.append)
    assert any(line.startswith(f"  passed over: {WHY}") for line in said)

    real = latency_table.time_model

    def time_model(model, path, setting):
        if model == bad:
            raise InputError("big.onnx: ONNX Runtime cannot load this file\n  more")
        return real(model, path, setting)

    monkeypatch.setattr(latency_table, "time_model", time_model)
    table = latency_table.measure(tmp_path / "candidates")
    assert table.refused[bad] == "big.onnx: ONNX Runtime cannot load this file"
    write_json(tmp_path / "latency.json", plain(table))
    changes = {"student.latency_table": str(tmp_path / "latency.json")}
    asked = plan({"latency_p95_ms": 1e6}, students=[NEVER, bad, good], changes=changes)
    found = student_search.search(Run(asked, tmp_path / "run"))
    assert found.chosen == good
    assert list(found.passed_over) == [NEVER, bad]


def test_none_that_can_be_exported_is_said(plan, tmp_path):
    asked = plan({"latency_p95_ms": 1e6}, students=[NEVER])
    with pytest.raises(
        InputError, match=rf"no candidate of device .*can be exported:\n  {WHY[:10]}"
    ):
        latencies.write_candidates(asked, tmp_path / "candidates", print)
