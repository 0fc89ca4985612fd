"""What a report says about speed: doubts, opening, from file to answer, threads."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from runtime.benchmark.machine_load import in_words
from runtime.benchmark.percentiles import Interval
from runtime.report.cells import Cell, Rows, Table
from runtime.results.findings import Doubt
from runtime.results.report import Report


@dataclass(frozen=True)
class Speed:
    """Everything about speed that the ledger does not have; empty for older reports."""

    doubts: tuple[Doubt, ...]
    latencies: Table
    opening: Table
    end_to_end: str
    sustained: str
    threads: Table

    def __bool__(self) -> bool:
        """True if there is anything to show."""
        return bool(self.doubts or self.latencies)

    @property
    def markdown(self) -> list[str]:
        """Paragraphs and tables in Markdown."""
        tables = [table.markdown for table in (self.latencies, self.opening) if table]
        sentences = [sentence for sentence in (self.end_to_end, self.sustained) if sentence]
        threads = [self.threads.markdown] if self.threads else []
        return [*(doubt.markdown for doubt in self.doubts), *tables, *sentences, *threads]


def speed_of(report: Report) -> Speed:
    """Collect what a report says about speed."""
    return Speed(
        doubts=doubts(report),
        latencies=_latencies(report),
        opening=_opening(report),
        end_to_end=_end_to_end(report),
        sustained=_sustained(report),
        threads=_threads(report),
    )


def doubts(report: Report) -> tuple[Doubt, ...]:
    """Tell what makes the latencies doubtful."""
    found, load = list[Doubt](), report.machine.while_timing
    if load is not None and load.busy:
        found.append(
            Doubt(
                "machine_busy",
                "The machine was busy",
                f"while it was timed: {in_words(load)}. Latencies are too high, and no requirement "
                "of latency is decided by them; check again when it is idle.",
            )
        )
    if load is not None and load.throttled:
        lead = "A core was slowed down for heat"
        found.append(Doubt("machine_throttled", lead, "while it was timed."))
    unsteady = [
        entry.stage
        for entry in report.ledger
        if entry.latency is not UNSET and not entry.latency.steady
    ]
    if unsteady:
        what = f"in the warm-up: {', '.join(unsteady)}."
        found.append(Doubt("times_unsteady", "Times did not settle", what))
    return tuple(found)


def _latencies(report: Report) -> Table:
    """Every entry that was timed, the teacher first, at each batch size."""
    rows: Rows = [
        [
            entry.stage if entry.provider is UNSET else f"{entry.stage} ({entry.provider})",
            str(latency.batch),
            str(latency.runs),
            _ms(latency.median_ms, latency.median_ms_ci),
            _ms(latency.p95_ms, latency.p95_ms_ci),
            _ms(latency.p99_ms, latency.p99_ms_ci),
            f"{latency.images_per_s:.1f}",
        ]
        for entry in report.ledger
        if entry.latency is not UNSET
        for latency in (
            entry.latency,
            *(() if entry.latency_other_batches is UNSET else entry.latency_other_batches),
        )
    ]
    headings = ["timed", "batch", "runs", "median ms", "p95 ms", "p99 ms", "images/s"]
    return Table.of(headings, rows)


def _ms(value: float, interval: Interval | None) -> Cell:
    """A time with its interval, in words where there were too few runs for one."""
    if interval is None:
        return Cell(f"{value:.2f}", "too few runs")
    return Cell(f"{value:.2f}", "{:.2f} to {:.2f}".format(*interval))


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
    parts = {"decode": whole.decode_ms, "prepare": whole.prepare_ms}
    parts |= {} if whole.model_ms is None else {"model": whole.model_ms}
    parts |= {"answer": whole.answer_ms}
    shown = " + ".join(f"{name} {taken:.2f}" for name, taken in parts.items())
    mean = "" if whole.mean_ms is None else f"mean {whole.mean_ms:.2f} ms = {shown}; "
    medians = f"; medians: {shown}" if whole.mean_ms is None else ""
    p95 = _ms(whole.p95_ms, whole.p95_ms_ci)
    return (
        f"From image file to answer, one at a time, over {whole.images} held-out images: {mean}"
        f"median {whole.median_ms:.2f} ms, p95 {p95} ms, "
        f"{whole.images_per_s:.0f} images/s{medians}."
    )


def _sustained(report: Report) -> str:
    found = report.sustained
    if found is UNSET:
        return ""
    slower = found.last_median_ms / found.first_median_ms
    return (
        f"Before that, {found.runs} requests without a pause for {found.seconds:.0f} s: a median "
        f"of {found.first_median_ms:.2f} ms at the beginning, {found.last_median_ms:.2f} ms at "
        f"the end ({slower:.2f} times as long)."
    )


def _threads(report: Report) -> Table:
    tried = [] if report.by_threads is UNSET else report.by_threads
    rows: Rows = [
        [str(each.threads), f"{each.median_ms:.2f}", _ms(each.p95_ms, each.p95_ms_ci)]
        for each in tried
    ]
    return Table.of(["threads", "median ms", "p95 ms"], rows)
