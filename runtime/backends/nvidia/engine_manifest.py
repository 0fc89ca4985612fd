"""The manifest of an engine: what it was built from, with and for, checked before it is loaded.

An engine is machine code for one kind of GPU and one version of TensorRT. Loaded elsewhere it
fails late, crashes, or answers wrongly; so nothing of it is deserialised before this check.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from runtime import documents
from runtime.backends.nvidia import gpu as gpus
from runtime.backends.nvidia.gpu import Gpu
from runtime.backends.nvidia.tensorrt_flavour import Flavour, installed_version
from runtime.documents import Precision
from runtime.errors import InputError
from runtime.files import sha256_of, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Profile:
    """Batch sizes that an engine takes: from, tuned for, up to."""

    min_batch: int
    opt_batch: int
    max_batch: int

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise ValueError(f"a profile rises from 1 or more, got {self}")

    def lacks(self, wanted: Sequence[int]) -> str:
        """Return why batches of these sizes are not answered as they are; empty if they are."""
        if self.min_batch <= min(wanted) and max(wanted) <= self.max_batch:
            return ""
        return (
            f"an engine for {self.min_batch} to {self.max_batch} images; the target times batches "
            f"of {' and '.join(map(str, wanted))}, which would be split or filled up. Smallest and "
            f"largest have to be {min(wanted)} and {max(wanted)}, or reach beyond"
        )


class EngineManifest(Struct, frozen=True, kw_only=True):
    """What an engine is: `NAME.engine.json` beside it."""

    schema_version: int = SCHEMA_VERSION
    flavour: Flavour
    version: str
    """The version of the TensorRT that built it."""
    cuda: str | None
    """The CUDA it was built with, if known."""
    compute_capability: str
    """The compute capability of the GPU it runs on, such as `8.9`."""
    gpu: str | None
    """Name of the GPU that built it; None if there was none."""
    driver: str | None
    os: str
    arch: str
    onnx: str
    """Name of the ONNX file it was built from."""
    onnx_sha256: str
    engine_sha256: str
    profile: Profile
    precision: Precision
    """What it was built to be: fp32, fp16 or int8."""
    weights_found: dict[str, float]
    """Share of the weights of convolutions and matrix products by type, as the engine's layers
    are listed."""
    inspected_by: str
    """Who listed the layers: TensorRT's engine inspector, or its builder where no GPU was."""
    not_proved: str = ""
    """Why these shares do not prove the precision; empty where they do."""

    def save(self, engine: Path) -> None:
        """Write it beside its engine."""
        write_json(path_of(engine), documents.plain(self))


@dataclass(frozen=True)
class LocalMachine:
    """The parts of this machine that decide whether an engine can be loaded."""

    gpu: Gpu | None
    version: str | None
    """The installed version of the engine's flavour."""
    os: str
    arch: str
    no_gpu: str = ""
    """Why CUDA sees no GPU, where it sees none."""

    @classmethod
    def detect(cls, flavour: Flavour) -> LocalMachine:
        """Return this machine."""
        version, system = installed_version(flavour), platform.system()
        return cls(gpus.find(), version, system, platform.machine(), gpus.why_none())


def path_of(engine: Path) -> Path:
    """Return the path of an engine's manifest."""
    return engine.with_name(f"{engine.name}.json")


def load(engine: Path) -> EngineManifest:
    """Read the manifest beside an engine.

    Raises:
        InputError: it is missing, or a key of it is wrong.
    """
    path = path_of(engine)
    if not path.is_file():
        raise InputError(
            f"{engine}: has no manifest ({path.name}), so what it was built for is not known.\n"
            f"  {rebuild(engine, 'tensorrt', None)}"
        )
    return documents.read(path, EngineManifest, newest=SCHEMA_VERSION, what="TensorRT engine")


def verify(engine: Path, machine: LocalMachine | None = None) -> EngineManifest:
    """Return the manifest of an engine that fits its bundle and this machine.

    Args:
        engine: the `.engine` file; its ONNX lies in the bundle, one folder up or beside it.
        machine: where it is to run; None: this machine.

    Raises:
        InputError: with every reason why it must not be loaded, and the command that rebuilds it.
    """
    manifest = load(engine)
    machine = machine or LocalMachine.detect(manifest.flavour)
    if reasons := [*file_problems(engine, manifest), *machine_problems(manifest, machine)]:
        listed = "\n  ".join(reasons)
        command = rebuild(engine, manifest.flavour, machine.gpu)
        raise InputError(f"{engine}: not loaded\n  {listed}\n  {command}")
    return manifest


def file_problems(engine: Path, manifest: EngineManifest) -> list[str]:
    """Return why the file is not the one that the manifest describes; empty if it is."""
    if not engine.is_file():
        return ["there is no such file"]
    reasons = []
    if _digest(engine) != manifest.engine_sha256:
        reasons.append(
            f"its {engine.stat().st_size:,} bytes are not those of its manifest: it was cut short, "
            "changed, or is another engine"
        )
    sources = [folder / manifest.onnx for folder in (engine.parent, engine.parent.parent)]
    source = next((path for path in sources if path.is_file()), None)
    if source is not None and _digest(source) != manifest.onnx_sha256:
        reasons.append(f"{source.name} was changed since the engine was built from it")
    return reasons


def _digest(path: Path) -> str:
    """Return the sha256 of a file; an unchanged one is read once in a process, however large."""
    state = path.stat()
    return _digest_of(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=64)
def _digest_of(path: Path, state: tuple[int, ...]) -> str:
    return sha256_of(path)


def machine_problems(manifest: EngineManifest, machine: LocalMachine) -> list[str]:
    """Return why the engine cannot run on this machine; empty if it can."""
    flavour, reasons = manifest.flavour, []
    if machine.arch != manifest.arch:
        reasons.append(f"built for processors of {manifest.arch}, this one is {machine.arch}")
    if flavour == "tensorrt" and machine.os != manifest.os:
        reasons.append(f"built on {manifest.os}, this is {machine.os}")
    if machine.version is None:
        reasons.append(f"needs {flavour} {manifest.version}, which is not installed here")
    elif machine.version != manifest.version:
        reasons.append(f"built with {flavour} {manifest.version}, here is {machine.version}")
    if machine.gpu is None:
        reasons.append(
            f"needs an NVIDIA GPU of compute capability {manifest.compute_capability}; "
            f"{machine.no_gpu or 'CUDA sees none here'}"
        )
    elif machine.gpu.compute_capability != manifest.compute_capability:
        reasons.append(
            f"built for compute capability {manifest.compute_capability}, this GPU "
            f"({machine.gpu.name}) has {machine.gpu.compute_capability}"
        )
    return reasons


def rebuild(engine: Path, flavour: Flavour, gpu: Gpu | None) -> str:
    """Return the command that builds the engine again from the ONNX in its bundle."""
    bundle = engine.parent.parent if engine.parent.name == "engines" else engine.parent
    words = ["compressor", "engine", str(bundle), "--flavour", flavour]
    if flavour == "tensorrt-rtx" and gpu is not None:
        words += ["--compute-capability", gpu.compute_capability]
    return f"Build it again from the ONNX in the bundle: {shlex.join(words)}"
