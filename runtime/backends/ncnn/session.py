"""One network in ncnn, and the number types that its layers really run in.

What ncnn computes in is a choice of options, and of the processor: half precision needs Armv8.2,
and elsewhere ncnn computes in float32 without a word. So every option is set here, and the number
type of each layer's output is read back from a first answer.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from runtime.arrays import AnyArray, Floats
from runtime.backends import one_image
from runtime.backends.base import Outputs, Proof, SessionOptions, Takes
from runtime.backends.cores import cores
from runtime.backends.ncnn import network as networks
from runtime.backends.ncnn import weights as stored
from runtime.backends.ncnn.network import EMBEDDING, INPUT, LOGITS, WORKING, Network
from runtime.documents import Precision
from runtime.errors import InputError, MissingDependencyError

INSTALL = "pip install 'edge-compressor[ncnn]'"
_MOST_PX = 4096
_BITS = {32: "f32", 16: "f16", 8: "i8"}
_AS_IT_IS = 1
"""Asks for a blob without converting it to float32."""


def import_ncnn() -> ModuleType:
    """Import the library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("ncnn")
    except ImportError as error:
        raise MissingDependencyError(f"ncnn is not installed: {INSTALL}") from error


class NcnnSession:
    """A network that ncnn has loaded for the CPU. Several threads may use it at once.

    ncnn knows no batches: images are answered one after the other.
    """

    takes: Takes = "float32"

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Load a network, and read back what its layers run in.

        Args:
            path: the `.param`; the `.bin` lies beside it.
            options: `threads` for one image; None: one for each core that this process may use.

        Raises:
            InputError: a file is missing or damaged, or it is no student.
            MissingDependencyError: ncnn is not installed, or computes in less than the file's
                precision.
        """
        library = import_ncnn()
        network, weights = networks.read(path), stored.weights_of(path)
        self.precision = stored.precision_of_file(path)
        options.require_precision(path, self.precision)
        self._path, self._library = path, library
        self._shape, self._outputs = _ends(path, network)
        self._net: Any = library.Net()
        _order(self._net.opt, self.precision, options.threads or cores())
        if self._net.load_param(str(path)) or self._net.load_model(str(weights)):
            raise InputError(
                f"{path}: ncnn {library.__version__} cannot load this file, or has not all of its "
                "layers. Copy the bundle again, or install a newer ncnn."
            )
        layers = self._layers_by_type(network, stored.in_integers(network, weights))
        self.proof = _proof(path, self.precision, layers)
        """Share of the layers by the number type of their outputs: f32, f16 or i8."""

    def run(self, images: AnyArray) -> Outputs:
        """Answer a batch: float32 [B, 3, S, S] normalised.

        Raises:
            InputError: the file takes images of another shape, or fails at work.
        """
        return one_image.answer(self._path, self._shape, images, self._answer)

    def _answer(self, image: AnyArray) -> list[Floats]:
        # ncnn's Mat points into the array, which has to live as long
        kept = np.ascontiguousarray(image)
        extractor = self._started(kept)
        found = []
        for name in self._outputs:
            failed, blob = extractor.extract(name)
            if failed or blob.empty():
                raise InputError(f"{self._path}: ncnn gave no {name} ({failed}). Is memory out?")
            found.append(np.array(blob, np.float32).reshape(-1))
        return found

    def _started(self, image: AnyArray) -> Any:
        extractor = self._net.create_extractor()
        if failed := extractor.input(INPUT, self._library.Mat(image)):
            raise InputError(f"{self._path}: ncnn takes no input of the name {INPUT} ({failed})")
        return extractor

    def blobs(self, image: AnyArray, names: Sequence[str]) -> list[Floats]:
        """Return what lies between the layers for one image, in float32.

        Args:
            image: [3, S, S], normalised.
            names: of blobs.
        """
        kept = np.ascontiguousarray(image)
        extractor = self._started(kept)
        extractor.set_light_mode(False)
        return [np.array(extractor.extract(name)[1], np.float32) for name in names]

    def _layers_by_type(self, network: Network, integers: Collection[str]) -> dict[str, int]:
        """Let it answer a black image; count the working layers by what they compute in.

        A layer with int8 weights computes in integers, whatever it hands on. Of others the type of
        their output is looked at.
        """
        black = np.zeros(self._shape, np.float32)
        extractor = self._started(black)
        extractor.set_light_mode(False)  # which would free a blob after its last use
        found = Counter[str]()
        for layer in network.layers:
            if layer.kind in WORKING:
                failed, blob = extractor.extract(layer.outputs[0], _AS_IT_IS)
                if failed or blob.empty():
                    raise InputError(f"{self._path}: layer {layer.name} fails in ncnn ({failed})")
                bits = 8 if layer.name in integers else blob.elembits()
                found[_BITS.get(bits, f"{bits} bits")] += 1
        return dict(found.most_common())


def _ends(path: Path, network: Network) -> tuple[tuple[int, ...], list[str]]:
    """Return the shape that a network takes, [3, S, S], and the names of its answers."""
    starts = [layer.outputs for layer in network.starts]
    if starts != [(INPUT,)] or set(network.ends) not in ({EMBEDDING}, {EMBEDDING, LOGITS}):
        raise InputError(
            f"{path}: takes {[name for names in starts for name in names]} and gives "
            f"{list(network.ends)}; a student takes {INPUT}"
        )
    try:
        width, height, channels = (network.starts[0].number(key) for key in (0, 1, 2))
    except ValueError:
        width = height = channels = 0
    if not 0 < min(width, height, channels) <= max(width, height, channels) <= _MOST_PX:
        raise InputError(f"{path}: does not say how large the images are that it takes")
    return (channels, height, width), sorted(network.ends)


def _order(options: Any, precision: Precision, threads: int) -> None:
    """Set every option that decides number types."""
    half, integers = precision == "fp16", precision == "int8"
    options.num_threads = threads
    options.use_vulkan_compute = False
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = half
    options.use_bf16_packed = options.use_bf16_storage = False
    options.use_int8_inference = options.use_int8_arithmetic = integers
    options.use_int8_packed = options.use_int8_storage = integers


def _proof(path: Path, precision: Precision, layers: Mapping[str, int]) -> Proof:
    """Compare what layers run in with what the file holds."""
    count = sum(layers.values())
    listed = ", ".join(f"{number} in {kind}" for kind, number in layers.items()) or "no layer"
    if precision == "fp32" and set(layers) - {"f32"}:
        raise MissingDependencyError(
            f"{path}: ncnn computes this fp32 file in less: {listed}. float32 was ordered"
        )
    if precision == "int8" and "i8" not in layers:
        raise MissingDependencyError(f"{path}: ncnn computes nothing of this int8 file in int8")
    return Proof(
        read_from=f"weights and outputs of the {count} layers that do the work in ncnn",
        types={kind: number / count for kind, number in layers.items()},
        not_proved=_NOT_HALF if precision == "fp16" and "f16" not in layers else "",
    )


_NOT_HALF = (
    "its weights are in half precision, but on this processor ncnn computes in float32; only "
    "Armv8.2 and newer have what it needs"
)
