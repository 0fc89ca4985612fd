"""The sentence and the drawing that a reader sees first."""

import pytest

from runtime.report import first_look
from runtime.report.sections import worth

TIMED = {
    "batch": 1, "runs": 500, "median_ms": 30.0, "p95_ms": 40.0, "p99_ms": 50.0,
    "median_ms_ci": [29, 31], "steady": True, "includes_preprocessing": False,
    "images_per_s": 33.0,
}  # fmt: skip


@pytest.fixture
def agreeing(document):
    """A report with labels: the file agrees with the teacher on 97.5 % of 400 images."""
    document["golden"]["images"] = 400
    document["ledger"][2] |= {"agreement_linear": 0.975, "agreement_linear_ci": [0.95625, 0.9875]}
    document["ledger"][2].pop("agreement_probe", None)
    document["ledger"][0]["latency"] = TIMED
    return document


def test_it_says_how_good_how_fast_how_large_and_what_is_met(agreeing, read):
    agreeing["verdict"]["requirements"] = [
        {"requirement": "parity_cosine_min", "rule": "at least", "wanted": 0.999, "got": 1.0,
         "passed": True, "why": ""},
        {"requirement": "agreement", "rule": "at least", "wanted": 0.9, "got": 0.975,
         "passed": True, "why": ""},
        {"requirement": "size_mb", "rule": "at most", "wanted": 1, "got": 1.51,
         "passed": False, "why": ""},
        {"requirement": "latency_p95_ms", "rule": "at most", "wanted": 3, "got": 2.345,
         "passed": None, "why": "the machine was busy while it was timed: others; check again"},
    ]  # fmt: skip
    assert first_look.sentence(read(agreeing)) == (
        "Your student answers as the teacher does on **97.5 %** (95.6 to 98.8) of 400 held-out "
        "images, in **2.35 ms** (p95) on Cortex-A76, where the teacher takes 40 ms, with "
        "**1.5 MB**; 1 of 3 requirements met, 1 missed (size\\_mb), 1 undecided "
        "(latency\\_p95\\_ms) because the machine was busy while it was timed."
    ).replace("\\_", "_")


def test_without_labels_it_speaks_of_similarities_and_without_requirements_it_says_so(
    document, read
):
    document["ledger"][2] |= {
        "similarity_correlation": 0.8,
        "similarity_correlation_ci": [0.75, 0.84],
    }
    document["verdict"]["requirements"] = []
    said = first_look.sentence(read(document))
    assert "follow the teacher's with a correlation of **0.800** on 100 held-out images" in said
    assert said.endswith("; no requirement set.")


def test_a_broken_file_is_not_praised(agreeing, read):
    agreeing["ledger"][2]["broken"] = "its answers are not finite"
    report = read(agreeing)
    assert first_look.sentence(report).startswith("**Your student cannot be used:** its answers")
    assert first_look.chart(report, None) is None


def test_the_drawing_has_teacher_files_start_and_limits(agreeing, read):
    agreeing["verdict"]["requirements"] = [
        {"requirement": "agreement", "rule": "at least", "wanted": 0.9, "got": 0.975,
         "passed": True, "why": ""},
        {"requirement": "latency_p95_ms", "rule": "at most", "wanted": 3, "got": 2.345,
         "passed": True, "why": ""},
    ]  # fmt: skip
    agreeing["before_training"] = {
        "raw": {"agreement_linear": 0.9, "agreement_linear_ci": [0.86, 0.93]}
    }
    report = read(agreeing)
    drawn = first_look.chart(report, worth.worth_of(report))
    places = {spot.name: spot for spot in drawn.spots}
    assert list(places) == ["teacher", "onnx-fp32", "raw features"]  # the most faithful first
    assert places["teacher"].x > drawn.at_most > places["onnx-fp32"].x == places["raw features"].x
    assert places["teacher"].y < places["onnx-fp32"].y < places["raw features"].y
    assert drawn.at_least == places["raw features"].y  # both at 0.9
    assert places["raw features"].hollow
    assert not places["onnx-fp32"].hollow
    title, caption = first_look.caption(report, drawn)
    assert title == "Linear agreement by milliseconds"
    assert "Hollow: before training" in caption
