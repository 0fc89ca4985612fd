"""What is said about speed, and about what disturbed it."""

import pytest
from msgspec import UNSET

from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.evaluation.check import check
from runtime.report.markdown import markdown, text
from runtime.report.sections.speed import doubts, speed_of

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
    assert "other processes used 1.3 cores; none of them can be seen" in busy.markdown
    assert "slowed down for heat" in hot.markdown


def test_times_that_did_not_settle_are_named(report):
    (doubt,) = doubts(report(steady=False))
    assert doubt.markdown == "**Times did not settle** in the warm-up: onnx-fp32."


def test_a_real_check_tells_the_whole_way(make_bundle):
    folder = make_bundle()
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    whole = found.end_to_end
    parts = whole.decode_ms, whole.prepare_ms, whole.model_ms, whole.answer_ms
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(whole.mean_ms)
    assert whole.images_per_s == pytest.approx(1e3 / whole.mean_ms)
    assert whole.images == 16
    deployed = found.ledger[2]
    assert deployed.latency.load_ms > 0
    assert deployed.latency.first_ms > 0
    assert found.machine.while_timing.peak_memory_mb > 10
    page = markdown(found)
    assert "## Speed" in page
    assert "From image file to answer" in page
    assert f" = decode {whole.decode_ms:.2f} + prepare " in page
    assert "| onnx-fp32 (cpu)" in page
    assert "onnx-fp32" in text(found)


def test_threads_are_tried_where_the_target_leaves_them_open(make_bundle):
    folder = make_bundle(threads=None)
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    assert found.by_threads[0].threads == 1
    assert "| threads |" in markdown(found)
    fixed = make_bundle(threads=1)
    found = check(bundles.load(fixed), golden.load(fixed / "golden"))
    assert found.by_threads is UNSET


def test_the_report_names_who_was_at_work(report):
    others = [{"name": "stress", "pid": 71, "cores": 1.2}]
    (busy,) = doubts(report(busy=True, others_cores=1.26, others=others))
    assert "used 1.3 cores, most of all stress (71) 1.2" in busy.markdown


def test_every_latency_stands_with_its_interval_the_teachers_beside_them(document, read):
    timed = document["ledger"][2]["latency"]
    document["ledger"][0] |= {"latency": {**timed, "runs": 12}, "provider": "PyTorch on the CPU"}
    timed |= {"p95_ms_ci": [2.2, 2.5], "p99_ms_ci": [3.1, 4.0]}
    table = speed_of(read(document)).latencies.markdown
    teacher, student = table.splitlines()[2:]
    assert teacher.startswith("| teacher (PyTorch on the CPU) | 1 ")
    assert "2.35 (too few runs)" in teacher
    assert "2.35 (2.20 to 2.50)" in student.replace("2.34", "2.35")


def test_a_sustained_load_is_told(make_bundle):
    folder = make_bundle()
    found = check(bundles.load(folder), golden.load(folder / "golden"), sustained_s=0.05)
    assert found.sustained.seconds >= 0.05
    assert f"{found.sustained.runs} requests without a pause for 0 s" in markdown(found)
