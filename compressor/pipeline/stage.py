"""Stages: functions from files to files, skipped when nothing that matters has changed.

A stage works in `RUN/.work/NAME-FINGERPRINT/`, which outlives a kill, so that it can continue
there. When it is done its outputs are noted, moved into the run folder, and recorded in
`RUN/.stages/NAME.json`. A kill at any moment leaves either the old outputs or a stage that
finishes its moves at the next start.
"""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from runtime.files import read_json, sha256_of, write_json

logger = logging.getLogger(__name__)

T = TypeVar("T")
State = Literal["cached", "to do", "waits"]


@dataclass(frozen=True)
class Stage(Generic[T]):
    """One step of the way."""

    name: str
    summary: str
    """What it does, for people."""
    outputs: tuple[str, ...]
    """Files and folders it makes, relative to the run folder."""
    needs: tuple[str, ...]
    """Stages whose outputs it reads."""
    inputs: Callable[[T], dict[str, Any]]
    """Everything that decides its outputs, as JSON values; reads the outputs of `needs`."""
    make: Callable[[T, Path], None]
    """Writes the outputs into the folder it is given, where a killed attempt may have left work."""
    code: tuple[str, ...]
    """Modules whose source decides its outputs, with all of ours that they import."""
    libraries: tuple[str, ...] = ()
    """Distributions whose version decides its outputs."""


@dataclass(frozen=True)
class Progress:
    """What became of a stage."""

    stage: str
    state: State
    seconds: float


def plan(stages: Sequence[Stage[T]], run: T, folder: Path) -> list[tuple[Stage[T], State]]:
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


def run_stage(stage: Stage[T], run: T, folder: Path) -> Progress:
    """Make a stage's outputs, or find that they are there and unchanged."""
    fingerprint = _fingerprint(stage, run)
    if (seconds := _cached(stage, folder, fingerprint)) is not None:
        _clear_work(stage, folder)
        return Progress(stage.name, "cached", seconds)
    work = folder / ".work" / f"{stage.name}-{fingerprint[:16]}"
    if not _is_finished(work, folder):
        work.mkdir(parents=True, exist_ok=True)
        for half_written in work.rglob(".*.tmp"):  # left by a kill; it would become an output
            half_written.unlink()
        started = time.monotonic()
        stage.make(run, work)
        seconds = round(time.monotonic() - started, 2)
        outputs = {name: sha256_of(work / name) for name in stage.outputs}
        record = {"fingerprint": fingerprint, "outputs": outputs, "seconds": seconds}
        write_json(work / "record.json", record)
    return Progress(stage.name, "to do", _finish(stage, folder, work))


def _finish(stage: Stage[T], folder: Path, work: Path) -> float:
    """Move what a finished stage left in its work folder to where it belongs."""
    record = read_json(work / "record.json")
    _record_path(stage, folder).unlink(missing_ok=True)
    for name in stage.outputs:
        if (work / name).exists():
            _replace(work / name, folder / name, work / "replaced")
    write_json(_record_path(stage, folder), record)
    _clear_work(stage, folder)
    return float(record["seconds"])


def _is_finished(work: Path, folder: Path) -> bool:
    """Whether a killed attempt had made everything, and each output is here or in its place."""
    if not (work / "record.json").exists():
        return False
    names = read_json(work / "record.json")["outputs"]
    return all((work / name).exists() or (folder / name).exists() for name in names)


def _clear_work(stage: Stage[T], folder: Path) -> None:
    for left in (folder / ".work").glob(f"{stage.name}-*"):
        shutil.rmtree(left)


def _replace(new: Path, path: Path, aside: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        aside.mkdir(exist_ok=True)
        shutil.rmtree(aside / path.name, ignore_errors=True)
        path.replace(aside / path.name)
    new.replace(path)


def _cached(stage: Stage[T], folder: Path, fingerprint: str) -> float | None:
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


def _record_path(stage: Stage[T], folder: Path) -> Path:
    return folder / ".stages" / f"{stage.name}.json"


def _fingerprint(stage: Stage[T], run: T) -> str:
    document = {
        "inputs": stage.inputs(run),
        "code": code_digest(stage.code),
        "libraries": {name: metadata.version(name) for name in stage.libraries},
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


_ROOT = Path(__file__).resolve().parents[2]


@cache
def code_digest(modules: tuple[str, ...], root: Path = _ROOT) -> str:
    """Of the source of our own modules and of all of ours that they import, however deep."""
    found: dict[str, str] = {}
    pending = list(modules)
    while pending:
        module = pending.pop()
        path = _source(module, root)
        if module in found or path is None:
            continue
        found[module] = sha256_of(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                pending += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                pending += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _source(module: str, root: Path) -> Path | None:
    """The file of one of our modules; None for anything else."""
    package, *rest = module.split(".")
    if package not in ("compressor", "export", "runtime") or not rest:
        return None
    whole = root.joinpath(package, *rest)
    candidates = (whole.with_suffix(".py"), whole / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
