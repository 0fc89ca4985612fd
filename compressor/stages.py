"""Stages: functions from files to files, skipped when nothing that matters has changed.

A stage works in `RUN/.work/NAME-FINGERPRINT/`, which outlives a kill, so that it can continue
there. When it is done its outputs are noted, moved into the run folder, and recorded in
`RUN/.stages/NAME.json`. A kill at any moment leaves either the old outputs or a stage that
finishes its moves at the next start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from runtime.files import read_json, sha256_of, write_json

logger = logging.getLogger(__name__)

Run = TypeVar("Run")
State = Literal["cached", "to do", "waits"]


@dataclass(frozen=True)
class Stage(Generic[Run]):
    """One step of the way."""

    name: str
    summary: str
    """What it does, for people."""
    outputs: tuple[str, ...]
    """Files and folders it makes, relative to the run folder."""
    needs: tuple[str, ...]
    """Stages whose outputs it reads."""
    inputs: Callable[[Run], dict[str, Any]]
    """Everything that decides its outputs, as JSON values; reads the outputs of `needs`."""
    make: Callable[[Run, Path], None]
    """Writes the outputs into the folder it is given, where a killed attempt may have left work."""
    code: tuple[str, ...]
    """Modules whose source decides its outputs, such as `compressor.images`."""
    libraries: tuple[str, ...] = ()
    """Distributions whose version decides its outputs."""


@dataclass(frozen=True)
class Progress:
    """What became of a stage."""

    stage: str
    state: State
    seconds: float


def plan(stages: Sequence[Stage[Run]], run: Run, folder: Path) -> list[tuple[Stage[Run], State]]:
    """Which stages are cached, which are to do, which wait for one to do. Touches nothing."""
    states: dict[str, State] = {}
    for stage in stages:
        if any(states[need] != "cached" for need in stage.needs):
            states[stage.name] = "waits"
        else:
            fingerprint = _fingerprint(stage, run)
            cached = _cached(stage, folder, fingerprint) is not None
            states[stage.name] = "cached" if cached else "to do"
    return [(stage, states[stage.name]) for stage in stages]


def run_stage(stage: Stage[Run], run: Run, folder: Path) -> Progress:
    """Make a stage's outputs, or find that they are there and unchanged."""
    fingerprint = _fingerprint(stage, run)
    if (seconds := _cached(stage, folder, fingerprint)) is not None:
        return Progress(stage.name, "cached", seconds)
    work = folder / ".work" / f"{stage.name}-{fingerprint[:16]}"
    if not (work / "record.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        stage.make(run, work)
        seconds = round(time.monotonic() - started, 2)
        outputs = {name: sha256_of(work / name) for name in stage.outputs}
        record = {"fingerprint": fingerprint, "outputs": outputs, "seconds": seconds}
        write_json(work / "record.json", record)
    return Progress(stage.name, "to do", _finish(stage, folder, work))


def _finish(stage: Stage[Run], folder: Path, work: Path) -> float:
    """Move what a finished stage left in its work folder to where it belongs."""
    record = read_json(work / "record.json")
    _record_path(stage, folder).unlink(missing_ok=True)
    for name in stage.outputs:
        if (work / name).exists():
            _replace(work / name, folder / name, work / "replaced")
    write_json(_record_path(stage, folder), record)
    shutil.rmtree(work)
    for stale in (folder / ".work").glob(f"{stage.name}-*"):
        shutil.rmtree(stale)
    return float(record["seconds"])


def _replace(new: Path, path: Path, aside: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        aside.mkdir(exist_ok=True)
        shutil.rmtree(aside / path.name, ignore_errors=True)
        path.replace(aside / path.name)
    new.replace(path)


def _cached(stage: Stage[Run], folder: Path, fingerprint: str) -> float | None:
    """Seconds that the outputs took to make, if they are there and are those of `fingerprint`."""
    path = _record_path(stage, folder)
    if not path.exists():
        return None
    record = read_json(path)
    if record["fingerprint"] != fingerprint:
        return None
    for name, digest in record["outputs"].items():
        if not (folder / name).exists() or sha256_of(folder / name) != digest:
            logger.warning("%s: missing or changed since it was made; made again", folder / name)
            return None
    return float(record["seconds"])


def outputs_digest(name: str, folder: Path) -> dict[str, str]:
    """The sha256 of each output of a finished stage."""
    outputs: dict[str, str] = read_json(folder / ".stages" / f"{name}.json")["outputs"]
    return outputs


def seconds_of(name: str, folder: Path) -> float:
    """How long a finished stage took."""
    return float(read_json(folder / ".stages" / f"{name}.json")["seconds"])


def _record_path(stage: Stage[Run], folder: Path) -> Path:
    return folder / ".stages" / f"{stage.name}.json"


def _fingerprint(stage: Stage[Run], run: Run) -> str:
    document = {
        "inputs": stage.inputs(run),
        "code": {name: _source_digest(name) for name in stage.code},
        "libraries": {name: metadata.version(name) for name in stage.libraries},
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _source_digest(module: str) -> str:
    root = Path(__file__).resolve().parent.parent
    return sha256_of(root.joinpath(*module.split(".")).with_suffix(".py"))
