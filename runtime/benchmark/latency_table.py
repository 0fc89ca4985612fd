"""How long untrained candidates take on this device, so that a student can be chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from runtime.backends.base import open_session
from runtime.benchmark import latency, machine
from runtime.errors import InputError
from runtime.files import read_versioned, sha256_of
from runtime.progress import Track, silent

SCHEMA_VERSION = 1
CANDIDATES = "candidates.json"


@dataclass(frozen=True)
class Timed:
    """One candidate; without a latency, its size alone was asked for."""

    model: str
    size_mb: float
    median_ms: float | None
    p95_ms: float | None
    runs: int | None


def timed(model: str, path: Path, setting: Mapping[str, Any]) -> Timed:
    """Time one ONNX file.

    Args:
        model: its name.
        path: the file.
        setting: `image_size`, `batch`, `provider` and `threads`.

    Raises:
        InputError: the file cannot be loaded.
        MissingDependencyError: the provider does not start here.
    """
    session = open_session(path, provider=setting["provider"], threads=setting["threads"])
    side = setting["image_size"]
    rng = np.random.default_rng(0)  # what a network is shown does not change its time
    images = rng.normal(size=(setting["batch"], 3, side, side)).astype(np.float32)
    (found,) = latency.measure_together([(session, images)])
    return Timed(model, path.stat().st_size / 1e6, found.median_ms, found.p95_ms, found.runs)


def measure(folder: Path, *, track: Track = silent) -> dict[str, Any]:
    """Time every candidate that `compressor candidates` exported into a folder.

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
    setting = read_versioned(path, newest=SCHEMA_VERSION, what="set of candidates")
    models = setting.pop("models")
    rows = []
    for each in track(models, label="timing candidates", total=len(models)):
        file = folder / Path(each["file"]).name
        if not file.is_file() or sha256_of(file) != each["sha256"]:
            raise InputError(f"{file}: missing or altered; copy the whole folder again")
        rows.append(vars(timed(each["model"], file, setting)))
    return {**setting, "machine": msgspec.to_builtins(machine.describe()), "models": rows}


def load(path: Path) -> dict[str, Any]:
    """Read what `measure` found.

    Raises:
        InputError: it is missing or something else.
    """
    document = read_versioned(path, newest=SCHEMA_VERSION, what="table of latencies")
    if missing := {"models", "machine", "batch"} - document.keys():
        raise InputError(f"{path}: not a latency table (it lacks {', '.join(sorted(missing))})")
    return document
