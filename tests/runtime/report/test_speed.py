"""What is said about speed, and about what disturbed it."""

import pytest
from msgspec import UNSET

from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.evaluation.check import check
from runtime.report.markdown import markdown, text
from runtime.report.speed import doubts

CALM = {
    "others_cores": 0.0, "busy": False, "throttled": None, "temperature_c": None,
    "peak_memory_mb": 50.0,
}  # fmt: skip


@pytest.fixture
def report(document, read):
    """`report(busy=True, ...)`: a report whose machine was in this state."""

    def make(steady=True, **load):
        document["machine"]["while_timing"] = CALM | load
        document["ledger"][2]["latency"]["steady"] = steady
        return read(document)

    return make


def test_a_calm_machine_is_not_mentioned(report, document, read):
    assert doubts(report()) == ()
    del document["machine"]["while_timing"]  # an older report
    assert doubts(read(document)) == ()


def test_a_busy_one_is(report):
    busy, hot = doubts(report(busy=True, throttled=True, others_cores=1.26))
    assert "other processes used 1.3 cores" in busy.markdown
    assert "slowed down for heat" in hot.markdown


def test_times_that_did_not_settle_are_named(report):
    (doubt,) = doubts(report(steady=False))
    assert doubt.markdown == "**Times did not settle** in the warm-up: onnx-fp32."


def test_a_real_check_tells_the_whole_way(make_bundle):
    folder = make_bundle()
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    whole = found.end_to_end
    steps = whole.decode_ms + whole.prepare_ms + whole.answer_ms
    assert 0 < steps < 3 * whole.median_ms
    assert whole.images == 16
    deployed = found.ledger[2]
    assert deployed.latency.load_ms > 0
    assert deployed.latency.first_ms > 0
    assert found.machine.while_timing.peak_memory_mb > 10
    page = markdown(found)
    assert "## Speed" in page
    assert "From image file to answer" in page
    assert "onnx-fp32" in text(found)


def test_threads_are_tried_where_the_target_leaves_them_open(make_bundle):
    folder = make_bundle(threads=None)
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    assert found.by_threads[0].threads == 1
    assert "| threads |" in markdown(found)
    fixed = make_bundle(threads=1)
    found = check(bundles.load(fixed), golden.load(fixed / "golden"))
    assert found.by_threads is UNSET
