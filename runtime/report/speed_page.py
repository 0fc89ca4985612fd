"""What a report says of speed beyond latencies: the whole way, threads, what disturbed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.text import table


def lines(report: Mapping[str, Any]) -> list[str]:
    """Paragraphs in Markdown; none in reports of before."""
    found = warnings(report)
    entries = [each for each in report["ledger"] if "load_ms" in each]
    if entries:
        rows = [
            [each["stage"], f"{each['load_ms']:.0f}", f"{each['first_ms']:.1f}"] for each in entries
        ]
        found.append(table(["file", "load ms", "first answer ms"], rows))
    if whole := report.get("end_to_end"):
        found.append(
            f"From image file to answer, one at a time: median {whole['median_ms']:.2f} ms, p95 "
            f"{whole['p95_ms']:.2f} ms, {whole['images_per_s']:.0f} images/s (decode "
            f"{whole['decode_ms']:.2f}, prepare {whole['prepare_ms']:.2f}, answer "
            f"{whole['answer_ms']:.2f} ms; {whole['images']} held-out images)."
        )
    if threads := report.get("by_threads"):
        rows = [
            [str(each["threads"]), f"{each['median_ms']:.2f}", f"{each['p95_ms']:.2f}"]
            for each in threads
        ]
        found.append(table(["threads", "median ms", "p95 ms"], rows))
    return found


def warnings(report: Mapping[str, Any]) -> list[str]:
    """What makes the latencies doubtful."""
    during, found = report.get("machine", {}).get("while_timing") or {}, list[str]()
    if during.get("busy"):
        found.append(
            f"**The machine was busy** while it was timed: other processes used "
            f"{during['others_cores']:.1f} cores. Latencies are too high; check again when it is "
            "idle."
        )
    if during.get("throttled"):
        found.append("**A core was slowed down for heat** while it was timed.")
    restless = [
        each["stage"]
        for each in report["ledger"]
        if not each.get("latency", {}).get("steady", True)
    ]
    if restless:
        found.append(f"**Times did not settle** in the warm-up: {', '.join(restless)}.")
    return found
