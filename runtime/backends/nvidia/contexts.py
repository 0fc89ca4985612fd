"""Execution contexts of an engine: how it is made ready to run, and what it compiles for that.

TensorRT-RTX compiles its kernels on the device. Left alone it does so in the background and runs
slower ones meanwhile, at every start again; here it compiles at once, and keeps the result in a
file outside of the bundle.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from runtime.backends.nvidia.cuda import Cuda, memory_full
from runtime.errors import InputError
from runtime.files import replacing

logger = logging.getLogger(__name__)


class Contexts:
    """Makes the execution contexts of one engine; they share its weights."""

    def __init__(self, trt: Any, engine: Any, cuda: Cuda, *, compiled: Path | None) -> None:
        """Prepare what all of them have in common.

        Args:
            trt: the module of the flavour.
            engine: deserialised.
            cuda: the CUDA runtime.
            compiled: file of compiled kernels, for TensorRT-RTX; it need not be there.
        """
        self._engine, self._cuda, self._file = engine, cuda, compiled
        self._config, self._cache = None, None
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):  # TensorRT-RTX
            strategies = trt.DynamicShapesKernelSpecializationStrategy
            self._config = engine.create_runtime_config()
            self._config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            self._cache = self._config.create_runtime_cache()
            if compiled is not None and compiled.is_file():
                # False: of another version, driver or GPU. It stays empty, and is written anew.
                self._cache.deserialize(compiled.read_bytes())
            self._config.set_runtime_cache(self._cache)

    def make(self, stream: Any) -> Any:
        """Return a new context, with the engine's only profile.

        Raises:
            MissingDependencyError: the GPU has no memory for it.
            InputError: TensorRT refuses the profile.
        """
        config = () if self._config is None else (self._config,)
        context = self._engine.create_execution_context(*config)
        if context is None:
            self._cuda.forget_error()
            raise memory_full(self._cuda.api)
        if context.active_optimization_profile != 0:  # the first context has it by itself
            require(context.set_optimization_profile_async(0, int(stream)), "its profile")
            self._cuda(self._cuda.api.cudaStreamSynchronize(stream))
        return context

    def keep_compiled(self) -> None:
        """Write what was compiled so far, so that the next start need not."""
        if self._cache is None or self._file is None:
            return
        try:
            with replacing(self._file) as temporary:
                temporary.write_bytes(bytes(self._cache.serialize()))
        except OSError as error:
            logger.warning(f"{self._file}: {error.strerror}; every start compiles again")
            self._file = None


def require(accepted: bool, what: str) -> None:
    """Raise what TensorRT tells by returning False.

    Raises:
        InputError: it did; an answer would be that to the images before.
    """
    if not accepted:
        raise InputError(
            f"TensorRT refuses {what}, though the engine's manifest allows it. Build the engine "
            "again on this device: compressor engine BUNDLE"
        )
