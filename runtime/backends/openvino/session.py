"""One ONNX file in OpenVINO, and the number types that its layers really run in.

OpenVINO computes float32 files in bfloat16 where the processor has it, unless it is told not to.
So the number type is ordered, and read back from the compiled network.
"""

from __future__ import annotations

import importlib
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends.base import Outputs, Proof, Takes
from runtime.backends.cores import cores
from runtime.errors import InputError, MissingDependencyError

INSTALL = "pip install 'edge-compressor[openvino]'"
_ORDERED = {"fp32": "f32", "fp16": "f16", "int8": "f32"}
"""What layers that are not quantised are ordered to compute in, by the file's precision."""
_LAYERS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq"})
"""Kinds of layers that do the work, in OpenVINO's words."""
_TAKES: dict[str, Takes] = {"f32": "float32", "u8": "uint8"}
_WHOLE = ("f32", "f64")
_INTEGERS = ("i8", "u8")


def import_openvino() -> ModuleType:
    """Import the library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingDependencyError(f"OpenVINO is not installed: {INSTALL}") from error


def version(library: ModuleType) -> str:
    """Return `2026.4.1`, without the build."""
    return str(library.__version__).split("-", maxsplit=1)[0]


class OpenVinoSession:
    """An ONNX file that OpenVINO has compiled for the CPU. Several threads may use it at once."""

    def __init__(self, path: Path, precision: str, threads: int | None) -> None:
        """Compile a file, and read back what its layers run in.

        Args:
            path: the file.
            precision: fp32, fp16 or int8: what it is delivered as.
            threads: for one image; None: one for each core that this process may use.

        Raises:
            InputError: there is no such file, it is damaged, or it is no student.
            MissingDependencyError: OpenVINO is not installed, or computes the file in less than
                its precision.
        """
        library = import_openvino()
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads or cores(),
            "INFERENCE_PRECISION_HINT": _ORDERED[precision],
        }
        try:
            model = library.Core().compile_model(str(path), "CPU", settings)
            if precision == "fp16" and "bf16" in _layers_by_type(model):
                settings["INFERENCE_PRECISION_HINT"] = "f32"  # it has no f16 here, and took less
                model = library.Core().compile_model(str(path), "CPU", settings)
            taken = model.input(0).get_element_type().get_type_name()
            names = [name for output in model.outputs for name in output.names]
        except RuntimeError as error:
            raise InputError(
                f"{path}: OpenVINO {version(library)} cannot load this file: {error}"
            ) from error
        if len(model.inputs) != 1 or taken not in _TAKES or "embedding" not in names:
            raise InputError(f"{path}: takes {taken} and gives {names}; a student takes images")
        layers = _layers_by_type(model)
        _require_delivered(path, precision, layers)
        count = sum(layers.values())
        self.proof = Proof(
            read_from=f"the network that OpenVINO compiled ({count} layers)",
            types={kind: number / count for kind, number in layers.items()},
        )
        """Share of the layers by the number type that they run in: f32, bf16, f16, i8 or u8."""
        self.takes: Takes = _TAKES[taken]
        self._path, self._model = path, model
        self._names = ["embedding", "logits"] if "logits" in names else ["embedding"]
        self._shape = [
            side.get_length() if side.is_static else None
            for side in model.input(0).get_partial_shape()
        ]
        self._requests = threading.local()

    def run(self, images: AnyArray) -> Outputs:
        """Answer one batch of what the file `takes`.

        Raises:
            InputError: the file takes images of another shape, or fails at work.
        """
        # It would answer another shape too, with nothing
        if len(images.shape) != len(self._shape) or any(
            wanted not in (None, side)
            for wanted, side in zip(self._shape, images.shape, strict=True)
        ):
            takes = ["N" if side is None else side for side in self._shape]
            raise InputError(
                f"{self._path}: cannot answer images of shape {list(images.shape)}: takes {takes}"
            )
        if not hasattr(self._requests, "own"):
            self._requests.own = self._model.create_infer_request()
        request: Any = self._requests.own
        try:
            request.infer([np.ascontiguousarray(images)])
        except RuntimeError as error:
            raise InputError(
                f"{self._path}: cannot answer images of shape {list(images.shape)}: {error}"
            ) from error
        # The tensors belong to the request, which the next batch writes over
        embedding, *rest = (np.array(request.get_tensor(name).data) for name in self._names)
        return Outputs(embedding=embedding, logits=rest[0] if rest else None)


def _layers_by_type(model: Any) -> dict[str, int]:
    """Count the layers that do the work by what they run in, the most frequent first."""
    found = Counter[str]()
    for layer in model.get_runtime_model().get_ordered_ops():
        told = layer.get_rt_info()
        if told["layerType"].value in _LAYERS:
            found[told["runtimePrecision"].value] += 1
    return dict(found.most_common())


def _require_delivered(path: Path, precision: str, computed_in: Mapping[str, int]) -> None:
    """Compare what layers run in with what the file is delivered as."""
    layers = _in_words(computed_in)
    enough = _WHOLE if precision == "fp32" else (*_WHOLE, "f16")
    if precision != "int8" and any(kind not in enough for kind in computed_in):
        raise MissingDependencyError(
            f"{path}: OpenVINO computes this {precision} file in less: {layers}"
        )
    if precision == "int8" and not any(kind in _INTEGERS for kind in computed_in):
        raise MissingDependencyError(
            f"{path}: OpenVINO computes no layer of this int8 file in int8 here: {layers}"
        )


def _in_words(computed_in: Mapping[str, int]) -> str:
    """Return `44 layers in i8, 8 in f32`."""
    parts = [f"{count} in {kind}" for kind, count in computed_in.items()]
    return ", ".join(parts).replace(" in ", " layers in ", 1) if parts else "no layer"
