"""Which file is recommended, which is dominated; an invariant over random ledgers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.benchmark.latency import Latency
from runtime.evaluation.recommend import faithfulness, mark_dominated, recommend
from runtime.results.ledger import LedgerEntry
from runtime.results.scores import Score


def entry(stage, median, agreement, *, size=1.0, spread=0.05, scores=None, **more):
    timing = Latency(
        batch=1, runs=50, median_ms=median, p95_ms=median * 1.1, p99_ms=median * 1.2,
        median_ms_ci=(median * (1 - spread), median * (1 + spread)), steady=True,
        includes_preprocessing=False, images_per_s=1e3 / median,
    )  # fmt: skip
    agreements = {"agreement_linear": exact(agreement), **(scores or {})}
    return LedgerEntry(
        stage=stage, file=f"{stage}.onnx", latency=timing, size_mb=size, scores=agreements, **more
    )


def exact(value):
    return Score(value, value, value)


def best(entries, *failed):
    outcomes = {each.stage: "failed" if each.stage in failed else "passed" for each in entries}
    return recommend(entries, outcomes)


def dominated(entries):
    return [list(each.dominated_by) for each in mark_dominated(entries)]


def test_int8_that_is_slower_and_less_faithful_is_dominated():
    """As measured on a MobileNet: INT8 5.6 ms against 1.8 in FP32."""
    entries = [entry("fp32", 1.8, 0.9), entry("fp16", 2.1, 0.9), entry("int8", 5.6, 0.88)]
    assert dominated(entries) == [[], ["fp32"], ["fp32", "fp16"]]
    found = best(entries)
    assert (found.stage, found.file) == ("fp32", "fp32.onnx")
    assert found.why == "the fastest, p95 1.98 ms; meets every requirement"


def test_int8_that_is_faster_and_less_faithful_is_a_choice():
    """As on a ViT-Tiny, where INT8 took 24 ms and FP32 33."""
    entries = [entry("fp32", 33, 0.9), entry("fp16", 38, 0.9), entry("int8", 24, 0.88)]
    assert dominated(entries) == [[], ["fp32"], []]
    assert best(entries).stage == "int8"
    assert best(entries, "int8").stage == "fp32"
    found = best(entries, "fp32", "fp16", "int8")
    assert found.stage == "int8"
    assert found.why.endswith("no file meets every requirement")


@pytest.mark.parametrize(
    ("outcomes", "stage", "said"),
    [
        (("passed", "undecided"), "fp32", "meets every requirement"),
        (("undecided", "failed"), "fp32", "no file is known to meet every requirement, this one"),
        (("failed", "undecided"), "int8", "no file is known to meet every requirement, this one"),
        (("failed", "failed"), "int8", "no file meets every requirement"),
        (("no requirement set", "no requirement set"), "int8", "no requirement is set"),
    ],
)
def test_what_is_decided_goes_before_what_is_faster(outcomes, stage, said):
    entries = [entry("fp32", 33, 0.9), entry("int8", 24, 0.88)]
    found = recommend(entries, dict(zip(("fp32", "int8"), outcomes, strict=True)))
    assert found.stage == stage
    assert said in found.why


def test_a_dominated_file_is_recommended_where_only_it_is_small_enough():
    entries = [entry("fp32", 1.8, 0.9, size=8), entry("fp16", 2.1, 0.9, size=4)]
    assert dominated(entries)[1] == ["fp32"]
    assert best(entries, "fp32").stage == "fp16"


def test_where_the_intervals_overlap_the_more_faithful_then_the_smaller():
    entries = [entry("int8", 10.0, 0.88), entry("fp32", 10.2, 0.90, size=8)]
    assert dominated(entries) == [[], []]
    found = best(entries)
    assert found.stage == "fp32"
    assert "as fast as int8 within the intervals" in found.why
    assert "with a better agreement_linear" in found.why
    alike = [entry("fp32", 10.0, 0.9, size=8), entry("fp16", 10.1, 0.9, size=4)]
    assert best(alike).stage == "fp16"


def test_a_broken_file_is_never_better():
    entries = [entry("fp16", 1.0, 0.0, broken="not finite"), entry("fp32", 1.02, 0.9)]
    assert best(entries).stage == "fp32"


def test_the_metric_is_the_first_that_all_have():
    one_has_more = [entry("a", 1, 1, scores={"agreement_probe": exact(1)}), entry("b", 1, 1)]
    assert faithfulness(one_has_more).key == "agreement_linear"
    scores = {"similarity_correlation": exact(0.5)}
    unlabelled = [LedgerEntry(stage=stage, scores=scores) for stage in "ab"]
    assert faithfulness(unlabelled).key == "similarity_correlation"
    assert faithfulness([LedgerEntry(stage="a")]).key == "parity_cosine_min"


def test_one_file():
    assert best([entry("fp32", 1, 1)]).why == "the only file; meets every requirement"


@given(
    st.lists(
        st.tuples(st.floats(0.1, 100), st.floats(0, 1), st.floats(0.1, 50), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_nothing_that_passes_is_faster_and_as_faithful_as_what_is_recommended(drawn):
    entries = [entry(f"s{n}", m, a, size=s) for n, (m, a, s, _) in enumerate(drawn)]
    failed = [f"s{n}" for n, (*_, ok) in enumerate(drawn) if not ok]
    found = best(entries, *failed)
    eligible = [e for e in entries if e.stage not in failed] or entries
    taken = next(e for e in mark_dominated(eligible) if e.stage == found.stage)
    assert taken.dominated_by == ()


@pytest.mark.parametrize("count", [2, 3])
def test_none_dominates_itself_or_its_equal(count):
    entries = [entry(f"s{n}", 1.0, 0.5) for n in range(count)]
    assert dominated(entries) == [[]] * count
