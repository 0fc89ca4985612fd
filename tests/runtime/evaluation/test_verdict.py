"""Each requirement passes, is missed, or cannot be decided here."""

from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.evaluation.gates import GATES, PARITY_COSINE_MIN, PREPROCESS_LEVELS_MAX, Evidence
from runtime.evaluation.verdict import judge
from runtime.results.report import ALWAYS_JUDGED, Target, Verdict
from runtime.results.scores import from_json, to_json

TEACHER = {"accuracy_linear": 0.9}
DEPLOYED = {
    "parity_cosine_min": 0.99999,
    "agreement_linear": 0.8,
    "similarity_correlation": 0.7,
    "ood_auroc": 0.95,
    "accuracy_linear": 0.85,
    "size_mb": 10.0,
    "latency": {"p95_ms": 20.0},
}
FIGURE_OF = {"agreement": "agreement_linear", "accuracy_drop": "accuracy_linear"}


@pytest.fixture(scope="module")
def verdict(entry_of):
    """`verdict(require, ...)`: of a file like DEPLOYED; None takes a key away."""

    def judged(require, *, on_target=True, preprocess_difference=None, teacher=TEACHER, **changes):
        changed = {**DEPLOYED, **changes}
        keys = {key: value for key, value in changed.items() if value is not None}
        evidence = Evidence(
            entry_of("onnx-fp32", **keys), entry_of("teacher", **teacher), preprocess_difference
        )
        return judge(require, evidence, Target("jetson-orin-nano", on_target))

    return judged


CASES = [
    # requirement, rule, a value that is just met, one that is just missed, the figure
    ("agreement", "at least", 0.8, 0.801, 0.8),
    ("similarity_correlation", "at least", 0.7, 0.701, 0.7),
    ("ood_auroc", "at least", 0.95, 0.951, 0.95),
    ("accuracy_drop", "at most", 0.05, 0.049, 0.05),
    ("size_mb", "at most", 10, 9.99, 10),
    ("latency_p95_ms", "at most", 20, 19.9, 20),
]


@pytest.mark.parametrize(("requirement", "rule", "met", "missed", "got"), CASES)
def test_passes_and_misses(requirement, rule, met, missed, got, verdict):
    for wanted, passed in ((met, True), (missed, False)):
        found = verdict({requirement: wanted})
        judgement = found.requirements[1]
        assert (judgement.requirement, judgement.rule) == (requirement, rule)
        assert judgement.wanted == wanted
        assert judgement.got == pytest.approx(got)
        assert judgement.passed is passed
        assert judgement.why == ""
        assert found.passed is passed


@pytest.mark.parametrize("requirement", [case[0] for case in CASES if case[0] != "size_mb"])
@pytest.mark.parametrize(("undecided", "passed"), [("fail", False), ("pass", True), (None, False)])
def test_a_figure_that_was_not_measured_is_undecided(requirement, undecided, passed, verdict):
    figure = FIGURE_OF.get(requirement, requirement.removesuffix("_p95_ms"))
    found = verdict({requirement: 0.5, "undecided": undecided}, **{figure: None})
    judgement = found.requirements[1]
    assert (judgement.got, judgement.passed) == (None, None)
    assert judgement.why == "this score could not be measured on these images"
    assert found.passed is passed


def test_without_labelled_held_out_images_a_drop_says_how_to_have_some(verdict):
    """The file answers, as its agreement shows; nobody can say whether rightly."""
    found = verdict({"accuracy_drop": 0.5}, teacher={}, accuracy_linear=None)
    assert found.requirements[1].why == (
        "no held-out image has a label; `compressor label RECIPE --holdout 60` asks for some"
    )


def test_a_drop_needs_the_teachers_score_too(verdict):
    found = verdict({"accuracy_drop": 0.5}, teacher={})
    assert found.requirements[1].passed is None


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.85), (0.75, 0.7), (0.3, 0.25)])
def test_a_drop_of_what_is_allowed_is_no_miss(before, after, verdict):
    """In binary some of these differences come out a little above 0.05."""
    teacher = {"accuracy_linear": before}
    found = verdict({"accuracy_drop": 0.05}, teacher=teacher, accuracy_linear=after)
    assert found.requirements[1].got == pytest.approx(0.05)
    assert found.passed


def test_a_student_better_than_its_teacher_drops_nothing(verdict):
    assert verdict({"accuracy_drop": 0}, accuracy_linear=0.95).passed


@pytest.mark.parametrize(("undecided", "passed"), [("fail", False), ("pass", True)])
@pytest.mark.parametrize("wanted", [1, 1000])
def test_latency_away_from_the_target_decides_nothing(wanted, undecided, passed, verdict):
    found = verdict({"latency_p95_ms": wanted, "undecided": undecided}, on_target=False)
    judgement = found.requirements[1]
    assert judgement.passed is None
    assert judgement.got == 20  # it is shown all the same
    assert judgement.why == (
        "this machine is not the target jetson-orin-nano: run `check` on the device"
    )
    assert found.passed is passed


def test_what_is_not_required_is_not_judged(verdict):
    found = verdict({"agreement": None, "size_mb": None, "undecided": "fail"})
    assert [each.requirement for each in found.requirements] == ["parity_cosine_min"]
    assert found.passed


@pytest.mark.parametrize("require", [{}, {"size_mb": 100, "undecided": "pass"}])
def test_parity_is_required_whatever_the_recipe_says(require, verdict):
    judgement = verdict(require).requirements[0]
    assert judgement.requirement == "parity_cosine_min"
    assert (judgement.rule, judgement.wanted) == ("at least", PARITY_COSINE_MIN["fp32"])
    for cosine, passed in ((PARITY_COSINE_MIN["fp32"], True), (0.99, False), (-1, False)):
        assert verdict(require, parity_cosine_min=cosine).passed is passed


@pytest.mark.parametrize(("levels", "passed"), [(0, True), (4, True), (5, False), (255, False)])
def test_the_preprocessing_must_be_the_one_of_the_desk(levels, passed, verdict):
    found = verdict({"undecided": "pass"}, preprocess_difference=levels)
    _, judgement = found.requirements
    assert judgement.requirement == "preprocess_max_difference_levels"
    assert (judgement.rule, judgement.wanted) == ("at most", PREPROCESS_LEVELS_MAX)
    assert judgement.got == levels
    assert judgement.passed is found.passed is passed


def test_a_figure_that_is_no_number_never_passes(verdict):
    nan = float("nan")
    assert not verdict({}, parity_cosine_min=nan).passed
    assert not verdict({"size_mb": 100}, size_mb=nan).passed


def test_one_miss_among_many_fails(verdict):
    assert not verdict({"agreement": 0.1, "size_mb": 1, "undecided": "pass"}).passed


def test_the_document_keeps_the_order_of_the_recipe(verdict):
    document = to_json(verdict({"size_mb": 5, "agreement": 0.5}))
    assert document["passed"] is False
    assert [each["requirement"] for each in document["requirements"]] == [
        "parity_cosine_min",
        "size_mb",
        "agreement",
    ]
    assert document["requirements"][1] == {
        "requirement": "size_mb",
        "rule": "at most",
        "wanted": 5,
        "got": 10.0,
        "passed": False,
        "why": "",
        "interval": None,
    }


def test_gates_are_about_the_answers_of_the_file(verdict):
    """Where another probe than the linear one is deployed, its figures count."""
    found = verdict(
        {"agreement": 0.5, "accuracy_drop": 0.1},
        teacher={"accuracy_linear": 0.9, "accuracy_probe": 0.8},
        agreement_probe=0.6,
        accuracy_probe=0.75,
    )
    assert [each.got for each in found.requirements[1:]] == pytest.approx([0.6, 0.05])


# --- the outcome -----------------------------------------------------------------------------

OUTCOMES = [
    # what the recipe requires, the outcome, whether it counts as passed
    ({}, "no requirement set", True),
    ({"undecided": "pass"}, "no requirement set", True),
    ({"size_mb": 20}, "passed", True),
    ({"size_mb": 20, "agreement": None}, "passed", True),
    ({"size_mb": 5}, "failed", False),
    ({"latency_p95_ms": 50}, "undecided", False),
    ({"latency_p95_ms": 50, "undecided": "pass"}, "undecided", True),
    ({"latency_p95_ms": 50, "size_mb": 20}, "undecided", False),
    ({"latency_p95_ms": 50, "size_mb": 5}, "failed", False),
    ({"latency_p95_ms": 50, "size_mb": 5, "undecided": "pass"}, "failed", False),
]


@pytest.mark.parametrize(("require", "outcome", "passed"), OUTCOMES)
def test_three_outcomes_and_that_of_no_requirement(require, outcome, passed, verdict):
    found = verdict(require, on_target=False)  # so a latency decides nothing
    assert (found.outcome, found.passed) == (outcome, passed)


def test_a_file_that_is_not_its_student_fails_without_any_requirement(verdict):
    found = verdict({"undecided": "pass"}, parity_cosine_min=0.5)
    assert (found.outcome, found.passed) == ("failed", False)


def test_an_older_report_has_the_outcome_of_its_requirements(verdict):
    for require, outcome, _ in OUTCOMES:
        document = to_json(verdict(require, on_target=False))
        del document["outcome"]
        assert from_json(document, Verdict, Path("report.json")).outcome == outcome


def test_what_is_judged_without_a_recipe_is_known_as_that():
    assert {gate.key for gate in GATES if gate.wanted} == ALWAYS_JUDGED


# --- what a sample can decide ----------------------------------------------------------------

INTERVALS = [
    # requirement, wanted, the figure's interval, what becomes of it
    ("agreement", 0.7, (0.75, 0.85), True),
    ("agreement", 0.75, (0.75, 0.85), True),
    ("agreement", 0.78, (0.75, 0.85), None),
    ("agreement", 0.82, (0.75, 0.85), None),
    ("agreement", 0.9, (0.75, 0.85), False),
    ("similarity_correlation", 0.6, (0.65, 0.75), True),
    ("similarity_correlation", 0.72, (0.65, 0.75), None),
    ("ood_auroc", 0.97, (0.93, 0.96), False),
    ("accuracy_drop", 0.1, (0.01, 0.09), True),
    ("accuracy_drop", 0.06, (0.01, 0.09), None),
    ("accuracy_drop", 0.04, (0.01, 0.09), None),
    ("accuracy_drop", 0.0, (0.01, 0.09), False),
]


@pytest.mark.parametrize(("requirement", "wanted", "interval", "outcome"), INTERVALS)
@pytest.mark.parametrize("undecided", ["fail", "pass"])
def test_the_whole_interval_decides(requirement, wanted, interval, outcome, undecided, verdict):
    figure = FIGURE_OF.get(requirement, requirement)
    changes = {f"{figure}_ci": list(interval)}
    if requirement == "accuracy_drop":
        loss = {"accuracy_linear": 0.05, "accuracy_linear_ci": list(interval)}
        changes = {"loss_against_teacher": loss}
    found = verdict({requirement: wanted, "undecided": undecided}, **changes)
    judgement = found.requirements[1]
    assert judgement.passed is outcome
    assert judgement.interval == interval
    assert found.passed is (outcome if outcome is not None else undecided == "pass")
    assert ("holds both outcomes" in judgement.why) == (outcome is None)


def test_it_says_how_many_images_would_decide(verdict):
    """Twice as near to the gate as the interval is wide: four times as many images."""
    found = verdict({"agreement": 0.78}, agreement_linear_ci=[0.76, 0.84])
    assert "about 4 times as many would decide" in found.requirements[1].why
    found = verdict({"agreement": 0.8}, agreement_linear_ci=[0.76, 0.84])
    assert "times as many" not in found.requirements[1].why  # on the gate no number does


def test_the_interval_of_the_deployed_probe_counts(verdict):
    changes = {"agreement_probe": 0.8, "agreement_probe_ci": [0.75, 0.85]}
    found = verdict({"agreement": 0.78}, **changes, agreement_linear_ci=[0.79, 0.81])
    assert found.requirements[1].passed is None


def test_a_size_has_no_interval_and_a_latency_that_of_its_runs(verdict):
    found = verdict({"size_mb": 11, "latency_p95_ms": 30})
    assert [each.interval for each in found.requirements] == [None, None, (20.0, 20.0)]
    assert found.passed


def test_a_gate_of_a_newer_version_is_refused_by_name(verdict):
    with pytest.raises(InputError, match=r"require.energy_mj: .* no such gate; it has latency_p95"):
        verdict({"energy_mj": 5.0})


def test_int8_may_move_single_images_but_not_be_another_model(verdict):
    for cosine, passed in ((0.85, True), (0.75, False)):
        assert verdict({}, precision="int8", parity_cosine_min=cosine).passed is passed
    assert not verdict({}, precision="fp16", parity_cosine_min=0.93).passed
