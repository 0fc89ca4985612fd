"""Build a TensorRT engine from an ONNX file, with `tensorrt` or `tensorrt-rtx`.

Precision comes from the file: networks are strongly typed, and nothing here names a precision to
the builder. `tensorrt` builds on the GPU it is for; `tensorrt-rtx` needs no GPU but the
compute capability of one. Needs numpy and the flavour, no training package.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from export.engine import layers as inside
from export.engine import onnx_parser as networks
from export.engine import timing_cache
from export.engine.layers import Layer
from export.engine.onnx_parser import Log
from runtime.backends.nvidia import gpu as gpus
from runtime.backends.nvidia.engine_manifest import EngineManifest, Profile
from runtime.backends.nvidia.tensorrt_flavour import Flavour, cuda_of, import_flavour
from runtime.errors import FileNotMadeError, InputError, MissingDependencyError
from runtime.files import replacing, sha256_of, write_json, write_text

Precision = Literal["fp32", "fp16", "int8"]
Note = Callable[[str], None]

FOLDER = "engines"
"""Below a bundle, where engines lie."""


@dataclass(frozen=True)
class EngineSpec:
    """The engine to build."""

    flavour: Flavour
    precision: Precision
    """The ONNX file's precision; the finished engine is compared with it."""
    profile: Profile
    compute_capability: str | None = None
    """Such as `8.9`; None: that of the GPU in this machine."""
    workspace_mb: int | None = None
    """Scratch memory of a layer at most, 10^6 bytes; None: all of the GPU's."""
    timing_caches: Path | None = None
    """A folder for the times of kernels, for later builds on such a GPU (`tensorrt` only)."""


def build(onnx: Path, folder: Path, spec: EngineSpec, *, note: Note = lambda line: None) -> Path:
    """Build an engine and write it with its manifest, its layers and the command by hand.

    Args:
        onnx: float32 or uint8 images in, a dynamic first side.
        folder: to write into; made if it is not there.
        spec: the engine.
        note: called with a line for each phase of the build.

    Returns:
        The `.engine` file. Beside it: `.engine.json`, `.engine.layers.json`, `.engine.sh`.

    Raises:
        FileNotMadeError: TensorRT cannot read the file, cannot build it, or the engine is not what
            was ordered.
        InputError: there is no such file, or no engine for this GPU can be built here.
        MissingDependencyError: the flavour or the GPU that it needs is not here.
    """
    if not onnx.is_file():
        raise InputError(f"{onnx}: no such file")
    trt, gpu = import_flavour(spec.flavour), gpus.find()
    capability = _capability(spec, gpu.compute_capability if gpu else None)
    log = Log()
    logger = log.logger(trt)
    network, config, builder = _prepare(trt, onnx, logger, spec)
    times = None
    if spec.flavour == "tensorrt-rtx":
        config.num_compute_capabilities = 1
        config.set_compute_capability(_of_rtx(trt, capability), 0)
        if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # else no CUDA graph is captured
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    else:
        if spec.timing_caches is not None:
            where = spec.timing_caches, spec.flavour, trt.__version__, capability
            times = timing_cache.path_of(*where)
        if timing_cache.attach(config, times) and times is not None:
            note(f"{times.name}: stale (another version or GPU, or damaged): all is timed anew")
    config.progress_monitor = _monitor(trt, note)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        words = "\n  ".join(log.problems[-5:]) or "it gave no reason"
        raise FileNotMadeError(
            f"{onnx}: {spec.flavour} {trt.__version__} could not build an engine\n  {words}\n"
            "  A smaller largest batch (`export.batches`) or more workspace "
            "(`export.workspace_mb`) may help."
        )
    content = bytes(plan)
    listed, inspected_by = _look_inside(trt, logger, content, log)
    proof = inside.prove(listed, spec.precision)
    if proof.lacks:
        note(f"not proved to compute in {spec.precision}: {proof.lacks}")
    path = folder / f"{onnx.stem}.{spec.flavour}-sm{capability.replace('.', '')}.engine"
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    EngineManifest(
        flavour=spec.flavour,
        version=trt.__version__,
        cuda=gpu.cuda if gpu else cuda_of(spec.flavour),
        compute_capability=capability,
        gpu=gpu.name if gpu else None,
        driver=gpu.driver if gpu else None,
        os=platform.system(),
        arch=platform.machine(),
        onnx=onnx.name,
        onnx_sha256=sha256_of(onnx),
        engine_sha256=sha256_of(path),
        profile=spec.profile,
        precision=spec.precision,
        weights_found=proof.weights,
        inspected_by=inspected_by,
        not_proved=proof.lacks,
    ).save(path)
    write_json(path.with_name(f"{path.name}.layers.json"), [each.to_dict() for each in listed])
    by_hand = _command(network, onnx, path, spec, capability)
    by_hand += [] if times is None else [f"--timingCacheFile={times.name}"]
    text = f"#!/bin/sh\n# In the folder of {onnx.name}:\n{shlex.join(by_hand)}\n"
    write_text(path.with_name(f"{path.name}.sh"), text)
    if spec.flavour == "tensorrt":
        timing_cache.keep(config, times)
    return path


def require_readable(onnx: Path, flavour: Flavour) -> None:
    """Parse a file as a build would, without building.

    Raises:
        FileNotMadeError: TensorRT cannot read it.
        MissingDependencyError: the flavour is not here.
    """
    trt, log = import_flavour(flavour), Log()
    logger = log.logger(trt)
    flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    networks.parse(trt, trt.Builder(logger).create_network(1 << int(flag)), onnx, logger)


def _capability(spec: EngineSpec, here: str | None) -> str:
    """Return the compute capability to build for.

    Raises:
        MissingDependencyError: this machine has no GPU.
        InputError: `tensorrt` builds for the GPU of this machine only.
    """
    wanted = spec.compute_capability
    if spec.flavour == "tensorrt" and here is None:
        raise MissingDependencyError(
            "tensorrt builds an engine on the GPU that it is for, and CUDA sees none here.\n"
            "  On the device: compressor engine BUNDLE --flavour tensorrt\n"
            "  Without one:   compressor engine BUNDLE --flavour tensorrt-rtx "
            "--compute-capability 8.9"
        )
    if spec.flavour == "tensorrt" and wanted not in (None, here):
        raise InputError(
            f"tensorrt builds for the GPU in this machine (compute capability {here}), not for "
            f"{wanted}.\n  Build on the device itself, or with --flavour tensorrt-rtx."
        )
    found = wanted or here
    if found is None:
        raise InputError(
            "tensorrt-rtx needs to know which GPU to build for, since this machine has none.\n"
            "  `compute_capability` in the target file, or --compute-capability, such as 8.9"
        )
    return found


def _of_rtx(trt: Any, capability: str) -> Any:
    name = f"SM{capability.replace('.', '')}"
    known = sorted(each for each in trt.ComputeCapability.__members__ if each.startswith("SM"))
    if name not in known:
        raise InputError(
            f"tensorrt-rtx {trt.__version__} builds for {', '.join(known)}, not for {name}.\n"
            "  Build with `tensorrt` on the device itself (Jetson: it comes with JetPack)."
        )
    return trt.ComputeCapability.__members__[name]


def _prepare(trt: Any, onnx: Path, logger: Any, spec: EngineSpec) -> tuple[Any, Any, Any]:
    """Read the network, and make a configuration with its profile and limits."""
    builder = trt.Builder(logger)
    # 10 asks for it, 11 takes every network as strongly typed and ignores it.
    flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    networks.parse(trt, network, onnx, logger)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # what the file says to be float32 is computed in it
    if spec.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, spec.workspace_mb * 10**6)
    images, profile = network.get_input(0), builder.create_optimization_profile()
    profile.set_shape(images.name, *_shapes(network, spec.profile))
    if config.add_optimization_profile(profile) < 0:
        raise InputError(
            f"{onnx}: takes no batches of {spec.profile.min_batch} to {spec.profile.max_batch}; "
            f"its input is {tuple(images.shape)}. Is its first side dynamic?"
        )
    return network, config, builder


def _shapes(network: Any, profile: Profile) -> list[tuple[int, ...]]:
    sides = tuple(network.get_input(0).shape)[1:]
    return [(batch, *sides) for batch in (profile.min_batch, profile.opt_batch, profile.max_batch)]


def _look_inside(trt: Any, logger: Any, content: bytes, log: Log) -> tuple[list[Layer], str]:
    """Return the layers of an engine and their source: without a GPU, the builder's log."""
    if gpus.find() is not None:
        engine = trt.Runtime(logger).deserialize_cuda_engine(content)
        if engine is not None:
            words = engine.create_engine_inspector().get_engine_information(
                trt.LayerInformationFormat.JSON
            )
            return inside.from_inspector(words), "inspector"
    return inside.from_builder(log.layers), "builder"


def _monitor(trt: Any, note: Note) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined, unused-ignore]
        """Reports the outermost phases of a build; inner ones are too many."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._outer: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            depth = 0 if parent is None else self._outer.get(parent, 9) + 1
            self._outer[phase] = depth
            if depth <= 1:
                note(f"{'  ' * depth}{phase} ({steps} steps)")

        def phase_finish(self, phase: str) -> None:
            self._outer.pop(phase, None)

        def step_complete(self, phase: str, step: int) -> bool:
            return True  # False would end the build

    return Monitor()


def _command(
    network: Any, onnx: Path, engine: Path, spec: EngineSpec, capability: str
) -> list[str]:
    """Return the same build as a shell command."""
    name = network.get_input(0).name
    shapes = ["x".join(map(str, shape)) for shape in _shapes(network, spec.profile)]
    words = ["trtexec", "--stronglyTyped", "--noTF32"]
    if spec.flavour == "tensorrt-rtx":
        words = ["tensorrt_rtx", f"--computeCapabilities={capability.replace('.', '')}"]
    words += [f"--onnx={onnx.name}", f"--saveEngine={engine.name}"]
    words += [f"--{kind}Shapes={name}:{each}" for kind, each in zip(_KINDS, shapes, strict=True)]
    if spec.workspace_mb is not None:
        words.append(f"--memPoolSize=workspace:{spec.workspace_mb * 1e6 / 2**20:.0f}")
    return [*words, "--profilingVerbosity=detailed", "--skipInference"]


_KINDS = ("min", "opt", "max")
