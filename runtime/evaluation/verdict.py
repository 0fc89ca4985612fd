"""Requirements against measured values: what was wanted, what was got, passed or not.

A requirement on a score is about images to come, of which the held-out images are a sample. It is
met if the score's whole 95 % interval meets it, missed if none of the interval does, and undecided
otherwise. Either decision is then wrong at most one time in forty.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.errors import InputError
from runtime.evaluation import gates
from runtime.evaluation.gates import Evidence, Gate, Value
from runtime.results.report import Requirement, Target, Verdict


def judge(require: Mapping[str, float | str | None], evidence: Evidence, target: Target) -> Verdict:
    """Judge a file by the gates that hold always, then by those of the recipe, in its order.

    Args:
        require: gate -> wanted value; absent or None means not required. `undecided` is `fail` or
            `pass`: what an undecided requirement counts as.
        evidence: the file, and what it is compared with.
        target: the machine that latency gates are about.

    Raises:
        InputError: a gate that this version does not know.
    """
    judged = [
        _judged(gate, wanted, evidence, target)
        for gate in gates.GATES
        if gate.wanted is not None and (wanted := gate.wanted(evidence)) is not None
    ]
    known = {gate.key: gate for gate in gates.of_recipes()}
    for key, value in require.items():
        if value is None or isinstance(value, str):
            continue
        if key not in known:
            raise InputError(
                f"require.{key}: this edge-compressor has no such gate; it has "
                f"{', '.join(known)}. The bundle may be of a newer version: install that one."
            )
        judged.append(_judged(known[key], value, evidence, target))
    lenient = require.get("undecided") == "pass"
    passed = all(
        lenient if requirement.passed is None else requirement.passed for requirement in judged
    )
    return Verdict(passed=passed, requirements=tuple(judged))


def _judged(gate: Gate, wanted: float, evidence: Evidence, target: Target) -> Requirement:
    measured = gate.measure(evidence)
    if measured is None:
        why = gates.why_unmeasured(gate, evidence)
        return Requirement(gate.key, gate.rule, wanted, None, None, why)
    got, why = measured.value, ""
    passed: bool | None = got >= wanted if gate.rule == "at least" else got <= wanted
    if measured.interval is not None:
        passed, why = _decided(gate, wanted, measured, measured.interval)
    if measured.undecided:
        passed, why = None, measured.undecided
    if "the target" in gate.needs and not target.this_machine:
        passed = None
        why = f"this machine is not the target {target.name}: run `check` on the device"
    return Requirement(gate.key, gate.rule, wanted, got, passed, why, measured.interval)


def _decided(
    gate: Gate, wanted: float, measured: Value, interval: tuple[float, float]
) -> tuple[bool | None, str]:
    """Whether the whole interval meets the requirement or misses it; None and why if neither."""
    low, high = interval
    at_least = gate.rule == "at least"
    if low >= wanted if at_least else high <= wanted:
        return True, ""
    if high < wanted if at_least else low > wanted:
        return False, ""
    why = (
        f"the 95 % interval, {low:.3f} to {high:.3f}, holds both outcomes: too few {gate.rests_on}"
    )
    edge = low if measured.value > wanted else high  # towards the wanted value
    if gap := abs(measured.value - wanted):
        times = (abs(measured.value - edge) / gap) ** 2  # widths go with the root of the number
        if times < _MOST_TIMES:
            why += f"; about {max(times, 1.1):.2g} times as many would decide"
    return None, why


_MOST_TIMES = 1000
