"""Requirements against measured figures: what was wanted, what was got, passed or not.

A requirement on a figure of held-out images is about images to come, of which those are a sample.
It is met if the figure's whole 95 % interval meets it, missed if none of the interval does, and
otherwise these images cannot decide it. Either decision is then wrong at most one time in forty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

PARITY_COSINE_MIN = {"fp32": 0.999, "fp16": 0.999, "int8": 0.8}
"""Of the worst image, by the file's precision. A float file must be its source up to rounding; INT8
moves single images visibly, and what that is worth is for the other gates. A wrong export or a
wrong scale is far below (two sound MobileNets in INT8 had .93 and .85)."""

PREPROCESS_LEVELS_MAX = 4
"""JPEG decoders differ by a level or two of 255; another resize or crop by tens."""


@dataclass(frozen=True)
class Judgement:
    """One requirement and what became of it."""

    requirement: str
    rule: Literal["at least", "at most"]
    wanted: float
    got: float | None
    passed: bool | None
    """None where this machine or these images cannot decide it."""
    why: str = ""
    """Why it is undecided."""
    interval: tuple[float, float] | None = None
    """95 % interval of `got`, where that rests on held-out images."""


@dataclass(frozen=True)
class Verdict:
    """All requirements together."""

    judgements: tuple[Judgement, ...]
    undecided: Literal["fail", "pass"] = "fail"

    @property
    def passed(self) -> bool:
        """True if no requirement is missed, and none undecided unless the recipe lets it pass."""
        return all(
            judgement.passed if judgement.passed is not None else self.undecided == "pass"
            for judgement in self.judgements
        )

    def to_dict(self) -> dict[str, Any]:
        """As it stands in report.json."""
        return {"passed": self.passed, "requirements": [asdict(each) for each in self.judgements]}


def judge(
    require: Mapping[str, Any],
    *,
    teacher: Mapping[str, Any],
    deployed: Mapping[str, Any],
    on_target: bool,
    target: str,
    preprocess_difference: int | None = None,
) -> Verdict:
    """Judge a deployed file's ledger entry against the recipe's `require`.

    Args:
        require: requirement -> wanted value; absent or None means not required.
        teacher: ledger entry of the teacher.
        deployed: ledger entry of the file.
        on_target: whether latency was measured on the target itself.
        target: its name.
        preprocess_difference: largest difference to the desk's pixels, in levels; None on the desk.
    """
    parity = PARITY_COSINE_MIN[deployed.get("precision", "fp32")]
    judgements = [_at_least("parity_cosine_min", parity, deployed["parity_cosine_min"])]
    if preprocess_difference is not None:
        name = "preprocess_max_difference_levels"
        judgements.append(_at_most(name, PREPROCESS_LEVELS_MAX, preprocess_difference))
    for requirement, wanted in require.items():
        if wanted is None or requirement == "undecided":
            continue
        if requirement == "latency_p95_ms":
            latency = deployed.get("latency")
            judgement = _at_most(requirement, wanted, latency and latency["p95_ms"])
            if not on_target:
                why = f"this machine is not the target {target}: run `check` on the device"
                judgement = replace(judgement, passed=None, why=why)
            judgements.append(judgement)
        elif requirement == "size_mb":
            judgements.append(_at_most(requirement, wanted, deployed["size_mb"]))
        elif requirement == "accuracy_drop":
            before, after = (_of_answers(entry, "accuracy") for entry in (teacher, deployed))
            # Rounded: 0.9 - 0.85 is 0.05000000000000004, and that is no miss of 0.05.
            drop = None if before is None or after is None else round(before - after, 9)
            losses = deployed.get("loss_against_teacher", {})
            interval = losses.get(f"{_name_of_answers(deployed, 'accuracy')}_ci")
            judgements.append(_decided(_at_most(requirement, wanted, drop), interval))
        else:
            name = requirement
            if requirement == "agreement":
                name = _name_of_answers(deployed, requirement)
            judgement = _at_least(requirement, wanted, deployed.get(name))
            judgements.append(_decided(judgement, deployed.get(f"{name}_ci")))
    return Verdict(tuple(judgements), undecided=require.get("undecided") or "fail")


def _name_of_answers(entry: Mapping[str, Any], figure: str) -> str:
    """A figure of the answers that the file gives: its probe's, which is most often the linear."""
    return f"{figure}_probe" if f"{figure}_probe" in entry else f"{figure}_linear"


def _of_answers(entry: Mapping[str, Any], figure: str) -> float | None:
    got: float | None = entry.get(_name_of_answers(entry, figure))
    return got


def _decided(judgement: Judgement, interval: Sequence[float] | None) -> Judgement:
    """The judgement, undecided where the figure's interval holds both outcomes."""
    if judgement.got is None or interval is None:
        return judgement
    low, high = interval
    within = replace(judgement, interval=(low, high))
    wanted, at_least = judgement.wanted, judgement.rule == "at least"
    # The edge that must meet the requirement, and the one that must miss it.
    meets = low >= wanted if at_least else high <= wanted
    misses = high < wanted if at_least else low > wanted
    if meets or misses:
        return within
    edge = low if judgement.got > wanted else high  # towards the wanted value
    why = (
        f"the 95 % interval, {low:.3f} to {high:.3f}, holds both outcomes: too few held-out images"
    )
    if gap := abs(judgement.got - wanted):
        times = (abs(judgement.got - edge) / gap) ** 2  # widths go with the root of the number
        if times < _MOST_TIMES:
            why += f"; about {max(times, 1.1):.2g} times as many would tell"
    return replace(within, passed=None, why=why)


_MOST_TIMES = 1000


def _at_most(requirement: str, wanted: float, got: float | None) -> Judgement:
    if got is None:
        return Judgement(requirement, "at most", wanted, None, None, _NOT_MEASURED)
    return Judgement(requirement, "at most", wanted, got, got <= wanted)


def _at_least(requirement: str, wanted: float, got: float | None) -> Judgement:
    if got is None:
        return Judgement(requirement, "at least", wanted, None, None, _NOT_MEASURED)
    return Judgement(requirement, "at least", wanted, got, got >= wanted)


_NOT_MEASURED = "this figure could not be measured on these images"
