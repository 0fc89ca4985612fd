"""What is a fault of a command: more than a wrong exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from drill.case import Case, Kind, Outcome

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
_LONGEST_MESSAGE = 20_000


def faults(case: Case, outcome: Outcome, kind: Kind, folder: Path, before: set[str]) -> list[str]:
    """Return everything that is wrong with what a command did.

    Args:
        case: the command.
        outcome: what it did.
        kind: of input, for its limits.
        folder: from which it was run.
        before: names of the files that lay there.
    """
    if outcome.timed_out:
        return ["did not end"]
    found = []
    if outcome.code not in case.codes:
        found.append(f"exit code {outcome.code}, not of {sorted(case.codes)}")
    if "Traceback (most recent call last)" in outcome.err + outcome.out:
        found.append("a traceback")
    if outcome.cpu_s > kind.cpu_limit_s:
        found.append(f"more than {kind.cpu_limit_s:g} s of CPU time")
    if outcome.memory_mb > kind.memory_limit_mb:
        found.append(f"more than {kind.memory_limit_mb:g} MB of memory")
    if "out of memory" in outcome.err:
        found.append("out of memory")
    if outcome.code in (2, 3) and "error" not in outcome.err.lower():
        found.append("no message")
    if len(outcome.err) > _LONGEST_MESSAGE:
        found.append("a message without an end")
    if _STEERING.search(outcome.out + outcome.err):
        found.append("characters that steer a terminal")
    found += _of_json(case, outcome)
    found += _of_files(case, folder, before)
    return found + (case.judge(outcome) if outcome.code in case.codes else [])


def _of_json(case: Case, outcome: Outcome) -> list[str]:
    """Whatever is said as JSON is JSON, and says the exit code if there is an error."""
    if "--json" not in case.words:
        return []
    try:
        document = json.loads(outcome.out, parse_constant=_refuse)
    except ValueError as error:
        return [f"no JSON: {str(error)[:60]}"]
    if outcome.code not in (2, 3):
        return []
    if isinstance(document, list):  # of answers, of which one is an error
        return [] if any("error" in each for each in document) else ["its JSON has no error"]
    return [] if document.get("exit_code") == outcome.code else ["its JSON has no exit code"]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _of_files(case: Case, folder: Path, before: set[str]) -> list[str]:
    """Nothing is written elsewhere, nothing temporary stays, and every JSON file is JSON."""
    found = []
    new = [name for name in names(folder) - before if name.split("/")[0] not in case.writes]
    if new:
        found.append(f"wrote {sorted(new)[0]}")
    if left := names(folder.with_suffix(".tmp")):
        found.append(f"left {re.sub('[^/]*tmp[^/]*', 'tmp', min(left))}")
    for top in case.writes:
        for path in (folder / top).rglob("*.json"):
            if path.relative_to(folder).as_posix() not in before:
                try:
                    json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
                except (ValueError, OSError) as error:
                    found.append(f"{path.name} is no JSON: {str(error)[:60]}")
    return found


def names(folder: Path) -> set[str]:
    """Return the names of everything below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
