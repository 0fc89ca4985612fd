"""A file against its source: what is the same gives 1, and what cannot be compared never passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtime import metrics
from runtime.backends.base import Outputs
from runtime.bundle import bundle, golden
from runtime.evaluation import ledger, parity
from runtime.evaluation.gates import Evidence
from runtime.evaluation.subject import Answers, bank_of
from runtime.evaluation.verdict import judge
from runtime.results.ledger import LedgerEntry
from runtime.results.report import Target


def embeddings(n=6, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def answers(embedding, logits=None):
    return Outputs(embedding, logits)


def test_the_same_answers():
    x, logits = embeddings(), embeddings(d=3)
    got = parity.compare(answers(x, logits), answers(x.copy(), logits.copy()))
    assert got.images == 6
    assert got.cosine_min == pytest.approx(1, abs=1e-12)
    assert got.max_abs_difference == 0
    assert got.same_answer == 1


def test_equals_a_loop():
    a, b = embeddings(), embeddings(seed=1)
    got = parity.compare(answers(a), answers(b))
    cosines = [p @ q / np.sqrt((p @ p) * (q @ q)) for p, q in zip(a, b, strict=True)]
    assert got.cosine_min == pytest.approx(min(cosines), abs=1e-6)
    assert got.max_abs_difference == pytest.approx(max(abs(a - b).ravel()), abs=1e-6)
    assert got.same_answer is None


def test_the_worst_image_counts():
    x, other = embeddings(), embeddings()
    other[3] *= -1
    assert parity.compare(answers(other), answers(x)).cosine_min == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("side", ["got", "expected", "both"])
def test_answers_without_direction_never_pass(bad, side):
    pair = {"got": embeddings(), "expected": embeddings()}
    for name in pair if side == "both" else (side,):
        pair[name][2] = bad
    got = parity.compare(answers(pair["got"]), answers(pair["expected"]))
    assert got.cosine_min == -1
    if side != "both" or bad != 0:
        assert got.max_abs_difference is None if bad != 0 else got.max_abs_difference > 0
    file = LedgerEntry(stage="onnx-fp32", parity_cosine_min=got.cosine_min)
    evidence = Evidence(file, LedgerEntry(stage="teacher"))
    verdict = judge({}, evidence, Target("cpu", this_machine=True))
    assert not verdict.passed


def test_a_single_value_that_is_not_finite_is_enough():
    x, other = embeddings(), embeddings()
    other[5, 1] = np.nan
    got = parity.compare(answers(other), answers(x))
    assert (got.cosine_min, got.max_abs_difference) == (-1, None)


def test_large_values_do_not_overflow():
    x = np.full((2, 4), 3e38, np.float32)
    assert parity.compare(answers(x), answers(x)).cosine_min == pytest.approx(1, abs=1e-12)


def test_share_of_same_answers():
    x = embeddings(4)
    expected = np.eye(3)[[0, 1, 2, 0]]
    got = np.eye(3)[[0, 2, 2, 0]]
    found = parity.compare(answers(x, got), answers(x, expected))
    assert found.same_answer == 0.75
    assert parity.compare(answers(x, got), answers(x)).same_answer is None


def test_logits_that_are_no_number_are_no_answer():
    x, logits = embeddings(4), np.tile([1.0, 0.0], (4, 1))  # NaN and the top-1 are both first
    broken = logits.copy()
    broken[1:, 0] = np.nan
    found = parity.compare(answers(x, broken), answers(x, logits))
    assert found.same_answer == 0.25


def test_other_shapes_are_a_programming_mistake():
    with pytest.raises(ValueError, match=r"embeddings of \(6, 4\), not \(6, 5\)"):
        parity.compare(answers(embeddings()), answers(embeddings(d=5)))


# --- logits, probabilities, likeness -----------------------------------------------------------


def test_what_is_made_of_an_embedding_is_compared_too():
    x, logits = embeddings(), 3 * embeddings(d=3)
    other, moved = x.copy(), logits.copy()
    other[4] += 1
    moved[2, 1] += 2
    bank = metrics.Bank.of(embeddings(20, seed=1), np.zeros(20, np.int64))
    got, expected = answers(other, moved), answers(x, logits)
    near = np.abs(bank.nearest_cosine(other) - bank.nearest_cosine(x))
    distances = metrics.total_variation(moved, logits)
    for worst, over in ((True, np.max), (False, np.mean)):
        found = parity.compare(got, expected, bank=bank, worst=worst)
        assert found.likeness_difference == pytest.approx(over(near))
        assert found.probability_difference == pytest.approx(over(distances))
        apart = over([0, 0, 2, 0, 0, 0]) / logits.std()
        assert found.logit_difference == pytest.approx(apart, rel=1e-5)


def test_classes_that_no_label_covers_say_nothing_of_logits():
    x, logits = embeddings(), embeddings(d=3)
    logits[:, 1] = metrics.NEVER
    other = logits.copy()
    other[:, 1] = -5e4
    found = parity.compare(answers(x, other), answers(x, logits))
    assert found.logit_difference == found.probability_difference == 0


FAULTS = [  # of a file, and what must show it, whatever its precision
    ("rows of the classifier swapped", lambda x, y: (x, y[:, ::-1].copy()), "probability"),
    ("the classifier gone", lambda x, y: (x, np.zeros_like(y)), "probability"),
    ("one class for every image", lambda x, y: (x, y + np.array([20, 0, 0])), "logit"),
    ("the temperature lost", lambda x, y: (x, 5 * y), "logit"),
    ("a constant on all logits", lambda x, y: (x, y + 50), "logit"),
    ("another embedding", lambda x, y: (embeddings(seed=3), y), "likeness"),
]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(("name", "fault", "key"), FAULTS)
def test_a_file_that_answers_otherwise_fails(name, fault, key, precision):
    x, logits = embeddings(), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]] * 6
    bank = metrics.Bank.of(x, np.zeros(len(x), np.int64))
    got = answers(*(np.asarray(each, np.float32) for each in fault(x, logits)))
    found = parity.compare(got, answers(x, logits), bank=bank, worst=precision != "int8")
    entry = LedgerEntry(
        stage="onnx",
        precision=precision,
        parity_cosine_min=1.0,
        parity_logit_difference=found.logit_difference,
        parity_probability_difference=found.probability_difference,
        parity_likeness_difference=found.likeness_difference,
        non_finite_answers=0,
    )
    verdict = judge({}, Evidence(entry, LedgerEntry(stage="teacher")), Target("cpu", True))
    missed = [each.requirement for each in verdict.requirements if each.passed is False]
    assert f"parity_{key}_difference" in missed
    assert verdict.outcome == "failed"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["embedding", "logits", "outside", "logits outside"])
def test_a_value_that_is_not_finite_anywhere_fails_the_file(where, bad, sound_bundle):
    loaded, found = bundle.load(sound_bundle), golden.load(sound_bundle / "golden")
    arrays = found.arrays
    inside = Outputs(arrays.student_embedding.copy(), arrays.student_logits.copy())
    beside = arrays.outside
    outside = Outputs(beside.student_embedding.copy(), beside.student_logits.copy())
    side = outside if "outside" in where else inside
    (side.logits if "logits" in where else side.embedding)[1, 0] = bad
    (file,) = loaded.artifacts
    entry = ledger.deployed(file, Answers(inside, outside), found, bank_of(found)).entry
    assert entry.broken == ledger.BROKEN
    assert entry.non_finite_answers == 1
    verdict = judge({}, Evidence(entry, LedgerEntry(stage="teacher")), Target("cpu", True))
    assert verdict.outcome == "failed"
    (missed,) = (each for each in verdict.requirements if each.requirement == "non_finite_answers")
    assert (missed.got, missed.passed) == (1, False)


values = arrays.arrays(np.float32, (3, 4), elements=st.floats(width=32))


@settings(deadline=None)
@given(a=values, b=values)
def test_any_floats_give_figures_that_a_report_can_hold(a, b):
    got = parity.compare(answers(a), answers(b))
    assert -1 - 1e-9 <= got.cosine_min <= 1 + 1e-9
    assert got.max_abs_difference is None or np.isfinite(got.max_abs_difference)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        assert got.cosine_min == -1
