"""What a tracker is told of a run: its recipe, its epochs, the figures and files of its end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET

from compressor.events import EpochEnded, RunEnded
from compressor.observers.event_log import FILE as EVENTS
from compressor.observers.tracking.tracker import Ended, Parameter
from runtime.results import report as reports
from runtime.results.report import Report
from runtime.results.scores import to_json
from runtime.text import without_secrets

RECIPE = "recipe.resolved.yaml"
EPOCHS = "train.jsonl"
_REPORT = ("report.json", "report.md", "report.html")
_IN_EPOCH = ("lr", "head_loss", "student_loss", "seconds")


def parameters(folder: Path) -> dict[str, Parameter]:
    """Return the recipe of a run with its defaults, by dotted keys; lists as JSON."""
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load((folder / RECIPE).read_text(encoding="utf-8"))
    return {key: _parameter(value) for key, value in _flat(document, ".")}


def _parameter(value: object) -> Parameter:
    if isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, default=str)


def _flat(document: Mapping[str, Any], between: str) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            for inner, held in _flat(value, between):
                yield f"{key}{between}{inner}", held
        else:
            yield str(key), value


def of_epoch(ended: EpochEnded) -> dict[str, float]:
    """Return the figures of an epoch: losses, rate, seconds, validation scores."""
    values = {name: getattr(ended, name) for name in _IN_EPOCH} | ended.scores
    return {f"train/{name}": value for name, value in values.items() if value is not None}


def epochs(folder: Path) -> dict[int, dict[str, float]]:
    """Return the figures of every epoch of a finished training, by epoch.

    A run that trains nothing has none.
    """
    path = folder / EPOCHS
    if not path.is_file():
        return {}
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {
        line["epoch"]: {
            f"train/{name}": value
            for name, value in line.items()
            if _is_number(value) and name != "epoch"
        }
        for line in lines
    }


def figures(report: Report) -> dict[str, float]:
    """Return every number of a report's ledger as `STAGE/figure`, an interval as _low and _high."""
    found = dict[str, float]()
    for entry in to_json(report)["ledger"]:
        for key, value in _flat(entry, "/"):
            name = f"{entry['stage']}/{key}"
            if _is_number(value):
                found[name] = value
            elif key.endswith("_ci") and value:
                found[f"{name[:-3]}_low"], found[f"{name[:-3]}_high"] = value
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def ended(event: RunEnded, folder: Path) -> Ended:
    """Return how a run has ended, with what its folder holds then.

    Raises:
        InputError: the report cannot be read.
    """
    if event.outcome != "done":
        files = tuple(folder / name for name in (RECIPE, EVENTS))
        why, outcome = without_secrets(event.error or ""), event.outcome
        if outcome == "failed" and not why:  # KeyboardInterrupt and SIGTERM have no words
            return Ended("stopped", "interrupted or told to stop", {}, {}, files, "")
        return Ended(outcome, why, {}, {}, files, "")
    report = reports.load(folder)
    data = {} if report.data is UNSET else report.data
    facts = {
        "verdict": report.verdict.outcome,
        "recommended": report.recommended.file,
        "target": report.target.name,
        "golden digest": report.golden.digest,
        "data digest": str(data.get("digest", "")),
        "bundle": str((folder / "bundle").resolve()),
    }
    names = (RECIPE, *_REPORT, EPOCHS, EVENTS, "bundle")
    files = tuple(folder / name for name in names if (folder / name).exists())
    text = (folder / "report.md").read_text(encoding="utf-8")
    return Ended("done", "", figures(report), facts, files, text)
