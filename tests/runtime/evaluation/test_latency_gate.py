"""When a requirement of latency is decided, and why it is not."""

import pytest

from runtime.benchmark.machine_load import MachineLoad, OtherProcess
from runtime.evaluation.gates import Evidence
from runtime.evaluation.verdict import judge
from runtime.results.report import Target

LATENCIES = [
    ({"p95_ms_ci": [18, 30]}, None, 30, True, ""),
    ({"p95_ms_ci": [18, 30]}, None, 17.9, False, ""),
    ({"p95_ms_ci": [18, 30]}, None, 25, None, "too few timed runs; about"),
    ({"runs": 58, "p95_ms_ci": None}, None, 1e6, None, "58 timed runs: the p95 has no interval"),
    ({"same_answers": False}, None, 1e6, None, "gave other answers than the untimed ones"),
    ({}, (1.9, (("stress", 71, 1.9),)), 1e6, None, "used 1.9 cores, most of all stress (71) 1.9"),
    ({}, (1.9, ()), 1e-6, None, "none of them can be seen from here"),
]


@pytest.mark.parametrize(("latency", "load", "wanted", "passed", "why"), LATENCIES)
def test_a_latency_is_decided_by_enough_calm_and_true_runs_only(
    entry_of, latency, load, wanted, passed, why
):
    busy = None
    if load is not None:
        others = tuple(OtherProcess(*other) for other in load[1])
        busy = MachineLoad(load[0], True, None, None, None, others)
    evidence = Evidence(
        entry_of("onnx-fp32", parity_cosine_min=1.0, precision="fp32", latency=latency),
        entry_of("teacher"),
        load=busy,
    )
    found = judge({"latency_p95_ms": wanted}, evidence, Target("pi", True)).requirements[1]
    assert found.passed is passed
    assert why in found.why
    assert bool(found.why) is (passed is None)
