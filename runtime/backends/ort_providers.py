"""ONNX Runtime's providers on a GPU: their libraries and options, and why one did not start."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from runtime.backends.base import Provider, SessionOptions
from runtime.backends.nvidia import gpu
from runtime.backends.nvidia.tensorrt_flavour import installed_version, version_key
from runtime.backends.ort_library import PROVIDERS, import_onnxruntime, load_errors, session_options
from runtime.errors import MissingDependencyError
from runtime.files import device_cache, sha256_of

Options = Mapping[str, str]
"""Of a provider."""
MOST_IMAGES = 32
"""In one call of a session, by a check or a prediction, whatever batches the target times."""


@lru_cache(maxsize=1)
def load_libraries() -> str:
    """Load CUDA and cuDNN from their pip packages, once; return what ONNX Runtime says of it.

    Without torch nothing else loads them. TensorRT's own package loads its libraries when it is
    imported.
    """
    ort, said = import_onnxruntime(), io.StringIO()
    if hasattr(ort, "preload_dlls"):  # 1.21
        with redirect_stdout(said):  # where it prints what it does not find
            ort.preload_dlls()
    installed_version("tensorrt")
    return said.getvalue().strip()


def options_of(path: Path, options: SessionOptions) -> Options:
    """Return the options of a session's provider.

    Float32 is computed in float32: TF32 is off. An engine of the TensorRT provider is built once,
    for every batch to come, into a folder outside of the sealed bundle.
    """
    if options.provider == "cuda":
        return {"use_tf32": "0"}
    if options.provider != "tensorrt":
        return {}
    # Its only switch: TensorRT reads it when it builds.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    ort = import_onnxruntime()
    reader = ort.InferenceSession(str(path), session_options(1), providers=[PROVIDERS["cpu"]])
    images = reader.get_inputs()[0]
    sides = "x".join(str(side) for side in images.shape[1:])
    fewest, most = options.batches
    most = max(most, MOST_IMAGES)
    found = {
        f"trt_profile_{kind}_shapes": f"{images.name}:{batch}x{sides}"
        for kind, batch in (("min", 1), ("opt", fewest), ("max", most))
    }
    precision = reader.get_modelmeta().custom_metadata_map.get("precision", "").strip('"')
    found |= _BUILT_FOR.get(precision, {})
    if folder := device_cache(f"onnxruntime-tensorrt/{sha256_of(path)[:16]}-{fewest}-{most}"):
        folder.mkdir(parents=True, exist_ok=True)
        found |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }
    return found


_BUILT_FOR = {"fp16": {"trt_fp16_enable": "1"}, "int8": {"trt_int8_enable": "1"}}
"""Without these the TensorRT provider runs an FP16 or INT8 file in float32."""


def did_not_start(provider: Provider, started: str, said: str = "") -> MissingDependencyError:
    """Return why a provider did not start, and how to have it.

    Args:
        provider: ours, which was ordered.
        started: ONNX Runtime's name of what started in its place.
        said: its error, if there was one.
    """
    ort = import_onnxruntime()
    lines = [f"ONNX Runtime should use {PROVIDERS[provider]} but started {started}."]
    lines += [f"  It says: {said.strip().splitlines()[0]}"] if said.strip() else []
    lines.append(f"  {_about_the_gpu()}")
    if PROVIDERS[provider] not in ort.get_available_providers():
        lines.append(
            f"  The installed ONNX Runtime {ort.__version__} is made without it. x86-64: pip "
            "uninstall onnxruntime, and pip install 'edge-compressor[gpu]'; Jetson: NVIDIA's own "
            "wheel of onnxruntime-gpu (docs/jetson.md)."
        )
    else:
        lines.append(
            f"  Do CUDA and cuDNN match ONNX Runtime {ort.__version__}? pip install "
            "'edge-compressor[gpu]' brings them."
        )
        lines += [f"  {line}" for line in load_libraries().splitlines()[:3]]
    if provider == "tensorrt":
        lines.append(f"  {_tensorrt_10()}")
    lines.append("  Or set `provider: cpu` in the target file.")
    return MissingDependencyError("\n".join(lines))


def _about_the_gpu() -> str:
    try:
        gpu.import_cuda()  # which ONNX Runtime does not need
    except MissingDependencyError:
        return "Is a GPU visible (nvidia-smi)?"
    why = gpu.why_none()
    return f"{why[0].upper()}{why[1:]}." if why else "CUDA sees the GPU."


def _tensorrt_10() -> str:
    version = installed_version("tensorrt")
    if version is not None and version_key(version)[0] == 10:
        return f"TensorRT {version} is installed, of the major version that this provider takes."
    found = f"here is {version}" if version else "none is installed here"
    return f"This provider takes TensorRT 10, {found}: pip install 'tensorrt>=10.3,<11'."


def open_on(content: str | bytes, provider: Provider, options: Any, given: Options) -> Any:
    """Open a model on a provider, and on no other one in its place.

    Args:
        content: path or bytes of the model.
        provider: ours.
        options: ONNX Runtime's own, of a session.
        given: the provider's, by `options_of`.

    Returns:
        ONNX Runtime's session.

    Raises:
        MissingDependencyError: the provider did not start.
        Exception: one of `load_errors`, if a CPU could not open the model either.
    """
    ort = import_onnxruntime()
    failures: tuple[type[Exception], ...] = (ValueError, RuntimeError, *load_errors())
    if provider != "cpu":
        load_libraries()
    with warnings.catch_warnings():
        # It warns of a missing provider and continues; below that is an error.
        warnings.filterwarnings("ignore", message="Specified provider")
        try:
            session = ort.InferenceSession(
                content,
                options,
                providers=[PROVIDERS[provider]],
                provider_options=[dict(given)],
                enable_fallback=0,  # which would go on elsewhere, and print that on stdout
            )
        except failures as error:
            if provider == "cpu":
                raise
            ort.InferenceSession(content, options, providers=[PROVIDERS["cpu"]], enable_fallback=0)
            raise did_not_start(provider, "none", str(error)) from error
    if (started := session.get_providers()[0]) != PROVIDERS[provider]:
        raise did_not_start(provider, started)
    session.disable_fallback()  # else `run` may move to the CPU, in silence
    return session


def starting_providers() -> dict[str, bool]:
    """Return our providers that really start here; `get_available_providers` lists compiled ones.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
    """
    import_onnxruntime()
    settings, started = session_options(threads=1), dict[str, bool]()
    settings.log_severity_level = 4
    for name in get_args(Provider):
        try:
            open_on(_IDENTITY, name, settings, {})
            started[name] = True
        except MissingDependencyError:
            started[name] = False
    return started


# The smallest ONNX model there is: y = Identity(x), float32 [1], opset 13, IR 7.
_IDENTITY = bytes.fromhex(
    "080712003a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f"
    "0a0179120a0a08080112040a02080142040a00100d"
)
