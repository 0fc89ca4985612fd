"""The passport of an engine: what it was built from, with and for, checked before it is loaded.

An engine is machine code for one kind of GPU and one version of TensorRT. Loaded elsewhere it
fails late, crashes, or answers wrongly; so nothing of it is deserialised before this check.
"""

from __future__ import annotations

import platform
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from runtime.backends import gpu as gpus
from runtime.backends.gpu import Gpu
from runtime.backends.tensorrt_flavour import Flavour, installed_version
from runtime.errors import InputError
from runtime.files import read_versioned, sha256_of, write_json

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


@dataclass(frozen=True)
class Passport:
    """What an engine is; it stands beside it as `NAME.engine.json`."""

    flavour: Flavour
    version: str
    """Of the TensorRT that built it."""
    cuda: str | None
    """The CUDA it was built with, as far as could be told."""
    compute_capability: str
    """Of the GPU it runs on, such as `8.9`."""
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
    precision: str
    """What it was built to be: fp32, fp16 or int8."""
    weights_found: dict[str, float]
    """Share of the weights of convolutions and matrix products by type, as the engine's layers
    are listed."""
    inspected_by: str
    """Who listed the layers: TensorRT's engine inspector, or its builder where no GPU was."""

    def save(self, engine: Path) -> None:
        """Write it beside its engine."""
        write_json(path_of(engine), {"schema_version": SCHEMA_VERSION, **asdict(self)})

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Here:
    """What of this machine decides whether an engine can be loaded."""

    gpu: Gpu | None
    version: str | None
    """Of the engine's flavour, installed here."""
    os: str
    arch: str

    @classmethod
    def look(cls, flavour: Flavour) -> Here:
        """This machine, as it is."""
        return cls(gpus.find(), installed_version(flavour), platform.system(), platform.machine())


def path_of(engine: Path) -> Path:
    """Where the passport of an engine lies."""
    return engine.with_name(f"{engine.name}.json")


def load(engine: Path) -> Passport:
    """Read the passport beside an engine.

    Raises:
        InputError: it is not there, or is not one.
    """
    path = path_of(engine)
    if not path.is_file():
        raise InputError(
            f"{engine}: has no passport ({path.name}), so nobody can say what it was built for.\n"
            f"  {rebuild(engine, 'tensorrt', None)}"
        )
    document = read_versioned(path, newest=SCHEMA_VERSION, what="engine's passport")
    wanted = {field.name for field in fields(Passport)}
    if missing := wanted - document.keys():
        raise InputError(f"{path}: not an engine's passport, it lacks {', '.join(sorted(missing))}")
    values = {name: document[name] for name in wanted}
    try:
        return Passport(**{**values, "profile": Profile(**document["profile"])})
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not an engine's passport: {error}") from error


def verify(engine: Path, here: Here | None = None) -> Passport:
    """The passport of an engine that belongs to its bundle and to this machine.

    Args:
        engine: the `.engine` file; its ONNX lies in the bundle, one folder up or beside it.
        here: the machine; None looks.

    Raises:
        InputError: with every reason why it must not be loaded, and the command that rebuilds it.
    """
    found = load(engine)
    here = here or Here.look(found.flavour)
    if reasons := [*damage(engine, found), *foreign(found, here)]:
        listed = "\n  ".join(reasons)
        raise InputError(
            f"{engine}: not loaded\n  {listed}\n  {rebuild(engine, found.flavour, here.gpu)}"
        )
    return found


def damage(engine: Path, passport: Passport) -> list[str]:
    """Why the file is not the one the passport was made for; empty if it is."""
    if not engine.is_file():
        return ["there is no such file"]
    reasons = []
    if sha256_of(engine) != passport.engine_sha256:
        reasons.append(
            f"its {engine.stat().st_size:,} bytes are not those of its passport: it was cut short, "
            "changed, or is another engine"
        )
    sources = [folder / passport.onnx for folder in (engine.parent, engine.parent.parent)]
    source = next((path for path in sources if path.is_file()), None)
    if source is not None and sha256_of(source) != passport.onnx_sha256:
        reasons.append(f"{source.name} was changed since the engine was built from it")
    return reasons


def foreign(passport: Passport, here: Here) -> list[str]:
    """Why the engine is not for this machine; empty if it is."""
    flavour, reasons = passport.flavour, []
    if here.arch != passport.arch:
        reasons.append(f"built for processors of {passport.arch}, this one is {here.arch}")
    if flavour == "tensorrt" and here.os != passport.os:
        reasons.append(f"built on {passport.os}, this is {here.os}")
    if here.version is None:
        reasons.append(f"needs {flavour} {passport.version}, which is not installed here")
    elif here.version != passport.version:
        reasons.append(f"built with {flavour} {passport.version}, here is {here.version}")
    if here.gpu is None:
        reasons.append(
            f"needs an NVIDIA GPU of compute capability {passport.compute_capability}; "
            "CUDA sees none here (nvidia-smi, and the driver's version, tell more)"
        )
    elif here.gpu.compute_capability != passport.compute_capability:
        reasons.append(
            f"built for compute capability {passport.compute_capability}, this GPU "
            f"({here.gpu.name}) has {here.gpu.compute_capability}"
        )
    return reasons


def rebuild(engine: Path, flavour: Flavour, gpu: Gpu | None) -> str:
    """The command that builds the engine again from the ONNX in its bundle."""
    bundle = engine.parent.parent if engine.parent.name == "engines" else engine.parent
    words = ["compressor", "engine", str(bundle), "--flavour", flavour]
    if flavour == "tensorrt-rtx" and gpu is not None:
        words += ["--compute-capability", gpu.compute_capability]
    return f"Build it again from the ONNX in the bundle: {shlex.join(words)}"
