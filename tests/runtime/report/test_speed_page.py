"""What is said of speed, and of what disturbed it."""

from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.evaluation.check import check
from runtime.report import speed_page
from runtime.report.markdown import markdown, text

CALM = {"while_timing": {"busy": False, "throttled": None, "others_cores": 0.0}}


def report(**changes):
    entry = {"stage": "onnx-fp32", "latency": {"steady": True}}
    return {"machine": CALM, "ledger": [{"stage": "teacher"}, entry], **changes}


def test_a_calm_machine_is_not_talked_about():
    assert speed_page.warnings(report()) == []
    assert speed_page.warnings({"machine": {}, "ledger": []}) == []  # of before


def test_a_busy_one_is():
    busy = {"while_timing": {"busy": True, "throttled": True, "others_cores": 1.26}}
    first, second = speed_page.warnings(report(machine=busy))
    assert "other processes used 1.3 cores" in first
    assert "slowed down for heat" in second


def test_times_that_did_not_settle_are_named():
    restless = [{"stage": "onnx-int8", "latency": {"steady": False}}]
    (said,) = speed_page.warnings(report(ledger=restless))
    assert said == "**Times did not settle** in the warm-up: onnx-int8."


def test_a_real_check_tells_the_whole_way(make_bundle):
    folder = make_bundle()
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    whole = found["end_to_end"]
    steps = whole["decode_ms"] + whole["prepare_ms"] + whole["answer_ms"]
    assert 0 < steps < 3 * whole["median_ms"]
    assert whole["images"] == 16
    deployed = found["ledger"][2]
    assert deployed["latency"]["load_ms"] > 0
    assert deployed["latency"]["first_ms"] > 0
    assert found["machine"]["while_timing"]["peak_memory_mb"] > 10
    page = markdown(found)
    assert "## Speed" in page
    assert "From image file to answer" in page
    assert "onnx-fp32" in text(found)


def test_threads_are_tried_where_the_target_leaves_them_open(make_bundle):
    folder = make_bundle(threads=None)
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    assert found["by_threads"][0]["threads"] == 1
    assert "| threads |" in markdown(found)
    fixed = make_bundle(threads=1)
    found = check(bundles.load(fixed), golden.load(fixed / "golden"))
    assert "by_threads" not in found
