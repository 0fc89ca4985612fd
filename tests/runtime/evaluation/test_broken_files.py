"""Files that answer something else than their student, or nothing: checked, and failed."""

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import bundle, golden
from runtime.evaluation.check import check
from runtime.findings import robustness
from runtime.report import markdown
from runtime.results.report import Report
from runtime.results.scores import from_json, to_json

NAN, OPPOSITE = float("nan"), -1.0


def checked(folder):
    """report.json of a bundle."""
    return to_json(check(bundle.load(folder), golden.load(folder / "golden")))


def read(found):
    return from_json(found, Report, Path("report.json"))


def judgements(found):
    return {each["requirement"]: each for each in found["verdict"]["requirements"]}


def test_a_model_that_gives_nothing_is_reported_and_fails(make_bundle, onnx_bytes):
    models = {"onnx-fp32": onnx_bytes(factor=NAN)}
    found = checked(make_bundle(models=models, require={"ood_auroc": 0.5}))
    deployed = found["ledger"][2]
    assert deployed["broken"].startswith("its answers are not all finite, or some are zero")
    assert deployed["parity_cosine_min"] == -1
    assert "similarity_correlation" not in deployed
    assert not found["verdict"]["passed"]
    assert (
        markdown.verdict_line(read(found))
        == "failed (missed parity_cosine_min, non_finite_answers; undecided ood_auroc)"
    )
    json.dumps(found, allow_nan=False)
    assert "-1.000000" in markdown.markdown(read(found))


def test_a_file_that_gives_nothing_on_a_corrupted_image_is_not_recommended(
    make_bundle, onnx_bytes, monkeypatch
):
    """The first choice turns out broken there; the other one is recommended, and judged."""
    real, asked = robustness.measure, []

    def measure(session, *rest, **more):
        asked.append(session)
        return real(session, *rest, **more) if len(asked) > 1 else None

    monkeypatch.setattr(robustness, "measure", measure)
    models = {"onnx-fp32": onnx_bytes(), "onnx-fp16": onnx_bytes()}
    found = checked(make_bundle(models=models, corrupted=3))
    assert len(set(asked)) == 2
    (broken,) = (entry for entry in found["ledger"] if entry.get("broken"))
    assert broken["broken"].startswith("on corrupted images, its answers are not all finite")
    assert found["recommended"]["stage"] != broken["stage"]
    assert found["verdict"]["outcome"] == "no requirement set"
    asked.clear()
    alone = checked(make_bundle(models={"onnx-fp32": onnx_bytes()}, corrupted=3))
    assert alone["verdict"]["outcome"] == "failed"
    assert judgements(alone)["non_finite_answers"]["passed"] is False


def test_answers_of_an_odd_size_are_compared_all_the_same(make_bundle, onnx_bytes):
    """Their squares are beyond float32; the directions are those of the student."""
    deployed = checked(make_bundle(models={"onnx-fp32": onnx_bytes(factor=1e25)}))["ledger"][2]
    assert deployed["parity_cosine_min"] == pytest.approx(1, abs=1e-6)
    assert (deployed["agreement_knn"], deployed["ood_auroc"]) == (1, 1)


def test_logits_that_are_no_number_are_broken_too(make_bundle, onnx_bytes):
    head = np.array([[1, NAN], [0, 0], [0, 0]], np.float32)
    deployed = checked(make_bundle(models={"onnx-fp32": onnx_bytes(head=head)}))["ledger"][2]
    assert deployed["parity_cosine_min"] == pytest.approx(1, abs=1e-6)
    assert "agreement_linear" not in deployed
    assert deployed["parity_same_answer"] == 0
    assert deployed["broken"].startswith("its answers are not all finite")


def test_a_wrong_export_fails_whatever_the_recipe_lets_pass(make_bundle, onnx_bytes):
    models = {"onnx-fp32": onnx_bytes(factor=OPPOSITE)}
    found = checked(make_bundle(models=models, require={"undecided": "pass"}))
    assert found["ledger"][2]["parity_cosine_min"] == pytest.approx(-1, abs=1e-6)
    missed = "parity_cosine_min, parity_logit_difference, parity_probability_difference"
    line = markdown.verdict_line(read(found))
    assert line.startswith("failed, 2 warnings (missed ")
    assert line.endswith(f" (missed {missed}, parity_likeness_difference)")
    assert found["recommended"]["why"] == "the only file; no file meets every requirement"


def test_a_classifier_that_was_destroyed_fails(make_bundle, onnx_bytes):
    """Its embeddings are those of the student; only what it makes of them is not."""
    head = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], np.float32)
    found = checked(make_bundle(models={"onnx-fp32": onnx_bytes(head=head)}))
    assert judgements(found)["parity_cosine_min"]["passed"] is True
    assert judgements(found)["parity_probability_difference"]["passed"] is False
    assert found["verdict"]["outcome"] == "failed"
    assert found["ledger"][2]["never_answered"] == ["blue"]
