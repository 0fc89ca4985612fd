"""Requirements against measured figures: what was wanted, what was got, passed or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

PARITY_COSINE_MIN = {"fp32": 0.999, "fp16": 0.999, "int8": 0.9}
"""Of the worst image, by the file's precision. A float file must be its source up to rounding; INT8
moves single images visibly, and what that is worth is for the other gates. A wrong export or a
wrong scale is far below."""

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
            judgements.append(_at_most(requirement, wanted, drop))
        else:
            agreement = requirement == "agreement"
            got = _of_answers(deployed, "agreement") if agreement else deployed.get(requirement)
            judgements.append(_at_least(requirement, wanted, got))
    return Verdict(tuple(judgements), undecided=require.get("undecided") or "fail")


def _of_answers(entry: Mapping[str, Any], figure: str) -> float | None:
    """A figure of the answers that the file gives: its probe's, which is most often the linear."""
    got: float | None = entry.get(f"{figure}_probe", entry.get(f"{figure}_linear"))
    return got


def _at_most(requirement: str, wanted: float, got: float | None) -> Judgement:
    if got is None:
        return Judgement(requirement, "at most", wanted, None, None, _NOT_MEASURED)
    return Judgement(requirement, "at most", wanted, got, got <= wanted)


def _at_least(requirement: str, wanted: float, got: float | None) -> Judgement:
    if got is None:
        return Judgement(requirement, "at least", wanted, None, None, _NOT_MEASURED)
    return Judgement(requirement, "at least", wanted, got, got >= wanted)


_NOT_MEASURED = "this figure could not be measured on these images"
