"""Which candidate is taken: the most faithful that fits; of those as faithful, the fastest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import UNSET
from msgspec.structs import asdict, replace

from compressor.pipeline.settling.faithfulness import Faithfulness
from runtime.benchmark.latency_table import Timed
from runtime.metrics import Estimate, paired_difference
from runtime.results.making import MeasuredStudent
from runtime.results.scores import as_score

Limits = Mapping[str, float]
"""`latency_p95_ms` and `size_mb`, as far as they are asked for."""


@dataclass(frozen=True)
class Measured:
    """A candidate with everything that was measured of it."""

    timed: Timed
    weights: str
    """Where its weights come from, or why it has none."""
    faithfulness: Faithfulness | None

    @property
    def cost(self) -> float:
        """What the faster has less of: milliseconds or, where none were measured, MB."""
        return self.timed.p95_ms if self.timed.p95_ms is not None else self.timed.size_mb


def fits(timed: Timed, limits: Limits) -> bool:
    """Return whether a candidate is within the limits; an unknown latency is not."""
    return not ruled_out_by(timed, limits)


def ruled_out_by(timed: Timed, limits: Limits) -> tuple[str, ...]:
    """Return which limits a candidate is over; its size alone if that is enough to rule it out."""
    if timed.size_mb > limits.get("size_mb", math.inf):
        return ("size_mb",)
    wanted = limits.get("latency_p95_ms")
    if wanted is not None and (timed.p95_ms is None or timed.p95_ms > wanted):
        return ("latency_p95_ms",)
    return ()


def words_of(limits: Limits) -> str:
    """Return the limits in words: `that fit latency_p95_ms 20, size_mb 10`."""
    asked = ", ".join(f"{key} {value:g}" for key, value in limits.items())
    return f"that fit {asked}" if asked else "of the target"


def most_faithful(found: Sequence[Measured], limits: Limits) -> tuple[str, str] | None:
    """Return the model that is taken and why, in one line.

    A candidate counts as faithful as the best if the 95 % interval of their difference, paired
    over images, contains zero: of these the fastest is taken.

    Returns:
        None if none with weights fits.
    """
    able = [(each, r) for each in found if fits(each.timed, limits) and (r := _r(each))]
    if not able:
        return None
    best, highest = max(able, key=lambda pair: pair[1].value)
    tied = [
        pair for pair in able if pair[0] is best or paired_difference(highest, pair[1]).low <= 0
    ]
    taken, r = min(tied, key=lambda pair: (pair[0].cost, -pair[1].value))
    shown = f"r {r.value:.3f} ({r.low:.3f} to {r.high:.3f})"
    among = f"{len(able)} candidates {words_of(limits)}"
    if len(able) == 1:
        return taken.timed.model, f"{shown}; the only candidate with weights {words_of(limits)}"
    if taken is best:
        return taken.timed.model, f"{shown}, the most faithful of {among}"
    timed = taken.timed.p95_ms is not None and best.timed.p95_ms is not None
    unit, comparative = ("ms", "faster") if timed else ("MB", "smaller")
    return taken.timed.model, (
        f"{shown}, as faithful as {best.timed.model} (r {highest.value:.3f}, within the interval "
        f"of the difference) and {comparative}: {taken.cost:.2f} {unit}, not {best.cost:.2f}; of "
        f"{among}"
    )


def rows(found: Sequence[Measured], limits: Limits) -> tuple[MeasuredStudent, ...]:
    """Return the candidates for the report, those on the Pareto front marked."""
    return tuple(_row(each, found, limits) for each in found)


def _row(each: Measured, found: Sequence[Measured], limits: Limits) -> MeasuredStudent:
    over = ruled_out_by(each.timed, limits)
    row = MeasuredStudent(
        **asdict(each.timed), fits=not over, weights=each.weights, ruled_out_by=over or UNSET
    )
    faithful = each.faithfulness
    if faithful is None:
        return row
    by_knn, by_linear = faithful.agreement or (None, None)
    return replace(
        row,
        similarity_correlation_centred=as_score(faithful.similarity),
        agreement_knn=as_score(by_knn) if by_knn else UNSET,
        agreement_linear=as_score(by_linear) if by_linear else UNSET,
        pareto=not any(_dominates(other, each) for other in found),
    )


def _dominates(one: Measured, other: Measured) -> bool:
    r, of_other = _r(one), _r(other)
    if r is None or of_other is None:
        return False
    as_good = r.value >= of_other.value and one.cost <= other.cost
    return as_good and (r.value > of_other.value or one.cost < other.cost)


def _r(each: Measured) -> Estimate | None:
    return None if each.faithfulness is None else each.faithfulness.similarity
