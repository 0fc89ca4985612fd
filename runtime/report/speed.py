"""What a report says about speed: doubts, opening, from file to answer, threads."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from runtime.report.cells import Table
from runtime.results.report import Report


@dataclass(frozen=True)
class Doubt:
    """A doubt about the latencies: what happened, and what it means."""

    lead: str
    rest: str

    @property
    def markdown(self) -> str:
        """With the lead in bold."""
        return f"**{self.lead}** {self.rest}"


@dataclass(frozen=True)
class Speed:
    """Everything about speed that the ledger does not have; empty for older reports."""

    doubts: tuple[Doubt, ...]
    opening: Table
    end_to_end: str
    threads: Table

    def __bool__(self) -> bool:
        """True if there is anything to show."""
        return bool(self.doubts or self.opening or self.end_to_end or self.threads)

    @property
    def markdown(self) -> list[str]:
        """Paragraphs and tables in Markdown."""
        parts = [doubt.markdown for doubt in self.doubts]
        parts += [self.opening.markdown] if self.opening else []
        parts += [self.end_to_end] if self.end_to_end else []
        return parts + ([self.threads.markdown] if self.threads else [])


def speed_of(report: Report) -> Speed:
    """Collect what a report says about speed."""
    return Speed(doubts(report), _opening(report), _end_to_end(report), _threads(report))


def doubts(report: Report) -> tuple[Doubt, ...]:
    """Tell what makes the latencies doubtful."""
    found, load = list[Doubt](), report.machine.while_timing
    if load is not None and load.busy:
        cores = f"other processes used {load.others_cores or 0:.1f} cores"
        found.append(
            Doubt(
                "The machine was busy",
                f"while it was timed: {cores}. Latencies are too high; check again when it is "
                "idle.",
            )
        )
    if load is not None and load.throttled:
        found.append(Doubt("A core was slowed down for heat", "while it was timed."))
    unsteady = [
        entry.stage
        for entry in report.ledger
        if entry.latency is not UNSET and not entry.latency.steady
    ]
    if unsteady:
        found.append(Doubt("Times did not settle", f"in the warm-up: {', '.join(unsteady)}."))
    return tuple(found)


def _opening(report: Report) -> Table:
    rows = [
        [entry.stage, f"{entry.latency.load_ms:.0f}", f"{entry.latency.first_ms:.1f}"]
        for entry in report.ledger
        if entry.latency is not UNSET
        and entry.latency.load_ms is not None
        and entry.latency.first_ms is not None
    ]
    return Table.of(["file", "load ms", "first answer ms"], rows)


def _end_to_end(report: Report) -> str:
    whole = report.end_to_end
    if whole is UNSET:
        return ""
    return (
        f"From image file to answer, one at a time: median {whole.median_ms:.2f} ms, p95 "
        f"{whole.p95_ms:.2f} ms, {whole.images_per_s:.0f} images/s (decode "
        f"{whole.decode_ms:.2f}, prepare {whole.prepare_ms:.2f}, answer {whole.answer_ms:.2f} ms; "
        f"{whole.images} held-out images)."
    )


def _threads(report: Report) -> Table:
    tried = [] if report.by_threads is UNSET else report.by_threads
    rows = [
        [str(latency.threads), f"{latency.median_ms:.2f}", f"{latency.p95_ms:.2f}"]
        for latency in tried
    ]
    return Table.of(["threads", "median ms", "p95 ms"], rows)
