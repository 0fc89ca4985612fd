"""How long untrained students take on this device, so that one can be chosen before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from runtime.backends.base import Provider
from runtime.backends.registry import open_session
from runtime.benchmark import latency, machine
from runtime.benchmark.latency import Request
from runtime.benchmark.machine import Machine
from runtime.benchmark.opened_files import ROTATING
from runtime.documents import Count, read
from runtime.errors import InputError
from runtime.files import sha256_of
from runtime.progress import Track, silent

SCHEMA_VERSION = 1
CANDIDATES = "candidates.json"
"""File in a folder of exported students: their names and how they are to be timed."""


class Setting(Struct, frozen=True, kw_only=True):
    """What a latency depends on besides the model and the machine."""

    schema_version: int = SCHEMA_VERSION
    image_size: Count
    embedding: int | None
    stages: int | None = None
    args: dict[str, Any] = {}
    batch: Count
    provider: Provider
    threads: Count | None


class CandidateFile(Struct, frozen=True):
    """An exported, untrained student."""

    model: str
    file: str
    sha256: str


class Candidates(Setting, frozen=True, kw_only=True):
    """All students to be timed: the document in CANDIDATES."""

    models: tuple[CandidateFile, ...]
    refused: dict[str, str] = {}
    """Students that could not be exported, each with the reason."""
    from_scratch: tuple[str, ...] | None = None
    """Students without weights, whose embedding layer has fewer inputs; None: not known."""


class Timed(Struct, frozen=True):
    """A student's size and latency; the latency is None where only the size matters."""

    model: str
    size_mb: float
    median_ms: float | None
    p95_ms: float | None
    runs: int | None


class LatencyTable(Setting, frozen=True, kw_only=True):
    """Latencies of students on one machine."""

    machine: Machine
    models: tuple[Timed, ...]
    refused: dict[str, str] = {}
    """Students that could not be exported, or not run on that machine, each with the reason."""
    from_scratch: tuple[str, ...] | None = None
    """As in the candidates."""


def time_model(model: str, path: Path, setting: Setting) -> Timed:
    """Time one ONNX file.

    Args:
        model: its name.
        path: the file.
        setting: how it is timed.

    Raises:
        InputError: the file cannot be loaded.
        MissingDependencyError: the provider does not start here.
    """
    session = open_session(path, provider=setting.provider, threads=setting.threads)
    side = setting.image_size
    rng = np.random.default_rng(0)  # the time is that of any values
    shape = setting.batch, 3, side, side
    images = [rng.normal(size=shape).astype(np.float32) for _ in range(ROTATING)]
    (measured,) = latency.measure_together([Request(session, images)])
    size_mb = path.stat().st_size / 1e6
    return Timed(model, size_mb, measured.median_ms, measured.p95_ms, measured.runs)


def measure(folder: Path, *, track: Track = silent) -> LatencyTable:
    """Time every student that `compressor candidates` exported into a folder.

    One that cannot run here is named with the reason, and costs the others nothing.

    Raises:
        InputError: the folder has none, or a file of it is missing or altered.
        MissingDependencyError: the provider does not start here.
    """
    path = folder / CANDIDATES
    if not path.is_file():
        raise InputError(
            f"{folder}: no {CANDIDATES}; `compressor candidates RECIPE --out {folder.name}` writes "
            "it, on the training machine"
        )
    candidates = read(path, Candidates, what="set of candidates", newest=SCHEMA_VERSION)
    models, rows, refused = candidates.models, list[Timed](), dict(candidates.refused)
    for candidate in track(models, label="timing candidates", total=len(models)):
        file = folder / Path(candidate.file).name
        if not file.is_file() or sha256_of(file) != candidate.sha256:
            raise InputError(f"{file}: missing or altered; copy the whole folder again")
        try:
            rows.append(time_model(candidate.model, file, candidates))
        except InputError as error:
            refused[candidate.model] = first_line(error)
    return LatencyTable(
        image_size=candidates.image_size,
        embedding=candidates.embedding,
        stages=candidates.stages,
        args=candidates.args,
        batch=candidates.batch,
        provider=candidates.provider,
        threads=candidates.threads,
        machine=machine.describe(),
        models=tuple(rows),
        refused=refused,
        from_scratch=candidates.from_scratch,
    )


def first_line(error: InputError) -> str:
    """Return why a student cannot be used, for a table."""
    return str(error).splitlines()[0]


def load(path: Path) -> LatencyTable:
    """Read a table that `measure` returned.

    Raises:
        InputError: it is missing or something else.
    """
    return read(path, LatencyTable, what="table of latencies", newest=SCHEMA_VERSION)
