"""A file against its source: what is the same gives 1, and what cannot be compared never passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtime.evaluation import parity
from runtime.evaluation.gates import Evidence
from runtime.evaluation.verdict import judge
from runtime.results.ledger import LedgerEntry
from runtime.results.report import Target


def embeddings(n=6, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_the_same_answers():
    x, logits = embeddings(), embeddings(d=3)
    got = parity.compare(x, x.copy(), got_logits=logits, expected_logits=logits.copy())
    assert got.images == 6
    assert got.cosine_min == pytest.approx(1, abs=1e-12)
    assert got.max_abs_difference == 0
    assert got.same_answer == 1


def test_equals_a_loop():
    a, b = embeddings(), embeddings(seed=1)
    got = parity.compare(a, b)
    cosines = [p @ q / np.sqrt((p @ p) * (q @ q)) for p, q in zip(a, b, strict=True)]
    assert got.cosine_min == pytest.approx(min(cosines), abs=1e-6)
    assert got.max_abs_difference == pytest.approx(max(abs(a - b).ravel()), abs=1e-6)
    assert got.same_answer is None


def test_the_worst_image_counts():
    x, other = embeddings(), embeddings()
    other[3] *= -1
    assert parity.compare(other, x).cosine_min == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("side", ["got", "expected", "both"])
def test_answers_without_direction_never_pass(bad, side):
    pair = {"got": embeddings(), "expected": embeddings()}
    for name in pair if side == "both" else (side,):
        pair[name][2] = bad
    got = parity.compare(pair["got"], pair["expected"])
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
    got = parity.compare(other, x)
    assert (got.cosine_min, got.max_abs_difference) == (-1, None)


def test_large_values_do_not_overflow():
    x = np.full((2, 4), 3e38, np.float32)
    assert parity.compare(x, x).cosine_min == pytest.approx(1, abs=1e-12)


def test_share_of_same_answers():
    x = embeddings(4)
    expected = np.eye(3)[[0, 1, 2, 0]]
    got = np.eye(3)[[0, 2, 2, 0]]
    found = parity.compare(x, x, got_logits=got, expected_logits=expected)
    assert found.same_answer == 0.75
    assert parity.compare(x, x, got_logits=got).same_answer is None


def test_logits_that_are_no_number_are_no_answer():
    x, logits = embeddings(4), np.tile([1.0, 0.0], (4, 1))  # NaN and the top-1 are both first
    broken = logits.copy()
    broken[1:, 0] = np.nan
    found = parity.compare(x, x, got_logits=broken, expected_logits=logits)
    assert found.same_answer == 0.25


def test_other_shapes_are_a_programming_mistake():
    with pytest.raises(ValueError, match=r"embeddings of shape \(6, 4\), expected \(6, 5\)"):
        parity.compare(embeddings(), embeddings(d=5))


values = arrays.arrays(np.float32, (3, 4), elements=st.floats(width=32))


@settings(deadline=None)
@given(a=values, b=values)
def test_any_floats_give_figures_that_a_report_can_hold(a, b):
    got = parity.compare(a, b)
    assert -1 - 1e-9 <= got.cosine_min <= 1 + 1e-9
    assert got.max_abs_difference is None or np.isfinite(got.max_abs_difference)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        assert got.cosine_min == -1
