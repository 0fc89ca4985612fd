"""The weights of a network of ncnn as its `.bin` holds them, and the number type of each.

Nothing in ncnn tells in which type a weight is kept, so the file is walked: each kind of layer
keeps its numbers in an order of its own. The walk has to end at the end of the file.

The format: https://github.com/Tencent/ncnn/wiki/operation-param-weight-table
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends.ncnn.network import Layer, Network, read
from runtime.documents import Precision
from runtime.errors import InputError

INT8_TAG = 0x000D4B38
_TYPES = {0x01306B47: ("float16", 2), INT8_TAG: ("int8", 1), 0x0002C056: ("float32", 4),
          0: ("float32", 4)}  # fmt: skip
"""What the four bytes before a weight say: its number type, and bytes of one number."""


@dataclass(frozen=True)
class Part:
    """A run of numbers in a `.bin`."""

    count: int
    tagged: bool
    """Whether four bytes before it say its number type; else it is float32."""


_Parts = Callable[[Layer], Iterator[Part]]


def _convolution(layer: Layer) -> Iterator[Part]:
    if not layer.number(19):  # else the weight is an input
        yield Part(layer.number(6), tagged=True)
        if layer.number(5):
            yield _plain(layer.number(0))
    if scales := layer.number(8):
        grouped = layer.kind.endswith("DepthWise") and scales % 100 == 1
        per_output = not layer.kind.endswith("DepthWise")
        yield _plain(layer.number(0) if per_output else layer.number(7) if grouped else 1)
        yield _plain(1)
        if scales > 100:
            yield _plain(1)


def _inner_product(layer: Layer) -> Iterator[Part]:
    yield Part(layer.number(2), tagged=True)
    if layer.number(1):
        yield _plain(layer.number(0))
    if layer.number(8):
        yield from (_plain(layer.number(0)), _plain(1))


def _gemm(layer: Layer) -> Iterator[Part]:
    if layer.number(18):
        raise ValueError(f"layer {layer.name} is a Gemm with int8 weights, which is not known here")
    m, n, k = (layer.number(key) for key in (7, 8, 9))
    if layer.number(4):
        yield Part(m * k, tagged=True)
    if layer.number(5):
        yield Part(n * k, tagged=True)
    if layer.number(6) and (shape := layer.number(10, -1)) != -1:
        yield Part({0: 1, 1: m, 2: m, 3: m * n, 4: n}[shape], tagged=True)


def _attention(layer: Layer) -> Iterator[Part]:
    if layer.number(18):
        raise ValueError(f"layer {layer.name} has int8 weights, which are not known here")
    width, size = layer.number(0), layer.number(2)
    wide = [width, layer.number(3, width), layer.number(4, width), size // max(width, 1)]
    for factor in wide:
        yield from (Part(width * factor, tagged=True), _plain(width))


def _memory(layer: Layer) -> Iterator[Part]:
    sides = (layer.number(key) or 1 for key in (0, 1, 11, 2))
    yield Part(math.prod(sides), tagged=layer.number(21, 1) == 0)


def _times(number: int, *, key: int, only_if: int | None = None) -> _Parts:
    def parts(layer: Layer) -> Iterator[Part]:
        if only_if is None or layer.number(only_if, 1):
            yield from (_plain(layer.number(key)) for _ in range(number))

    return parts


def _scale(layer: Layer) -> Iterator[Part]:
    yield from (_plain(layer.number(0)) for _ in range(1 + bool(layer.number(1))))


def _nothing(layer: Layer) -> Iterator[Part]:
    return iter(())


def _plain(count: int) -> Part:
    return Part(count, tagged=False)


_LAYOUTS: Mapping[str, _Parts] = {
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Deconvolution": _convolution,
    "InnerProduct": _inner_product,
    "Gemm": _gemm,
    "MultiHeadAttention": _attention,
    "MemoryData": _memory,
    "Scale": _scale,
    "LayerNorm": _times(2, key=0, only_if=2),
    "InstanceNorm": _times(2, key=0, only_if=2),
    "RMSNorm": _times(1, key=0, only_if=2),
    "GroupNorm": _times(2, key=1, only_if=3),
    "BatchNorm": _times(4, key=0),
    "PReLU": _times(1, key=0),
    "Normalize": _times(1, key=3),
}
"""In which order each kind of layer keeps its numbers; kinds that are not here keep none."""


def weights_by_type(network: Network, path: Path) -> dict[str, int]:
    """Count the weights of layers that do the work by their number type, read from a `.bin`.

    Args:
        network: of the `.param` beside it.
        path: the `.bin`.

    Raises:
        InputError: there is no such file, it is cut or too long, or a layer keeps its weights in a
            way that is not known here.
    """
    found = dict[str, int]()
    for stored in _walk(network, path):
        if stored.part.tagged:
            found[stored.kind] = found.get(stored.kind, 0) + stored.part.count
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def in_integers(network: Network, path: Path) -> frozenset[str]:
    """Return the names of the layers whose weights are int8.

    Raises:
        InputError: as for `weights_by_type`.
    """
    return frozenset(each.layer for each in _walk(network, path) if each.kind == "int8")


def arrays_of(network: Network, path: Path) -> dict[str, list[AnyArray]]:
    """Read what each layer of a float32 network keeps: tags, and numbers in float32.

    Raises:
        InputError: as for `weights_by_type`.
    """
    found: dict[str, list[AnyArray]] = {layer.name: [] for layer in network.layers}
    content = path.read_bytes()
    for stored in _walk(network, path):
        if stored.part.tagged:
            found[stored.layer].append(np.frombuffer(content, "<u4", 1, stored.start - 4))
        numbers = np.frombuffer(content, "<f4", stored.part.count, stored.start)
        found[stored.layer].append(numbers)
    return found


@dataclass(frozen=True)
class _Stored:
    """Where a run of numbers lies."""

    layer: str
    part: Part
    kind: str
    start: int
    """Its first byte."""


def _walk(network: Network, path: Path) -> list[_Stored]:
    found = list[_Stored]()
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for layer in network.layers:
                for part in _LAYOUTS.get(layer.kind, _nothing)(layer):
                    kind, width = "float32", 4
                    if part.tagged:
                        tag = int.from_bytes(file.read(4), "little")
                        if tag not in _TYPES:
                            raise ValueError(f"layer {layer.name}: no number type has {tag:#x}")
                        kind, width = _TYPES[tag]
                    found.append(_Stored(layer.name, part, kind, file.tell()))
                    words = max(0, -(-part.count * width // 4))
                    file.seek(4 * words, 1)
                    if part.count < 0 or file.tell() > size:
                        raise ValueError(f"it ends in layer {layer.name}")
            if file.tell() != size:
                raise ValueError(f"{size - file.tell():,} bytes follow the last layer")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; it belongs to the .param beside it") from error
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{path}: its weights cannot be read ({error}). Copy the bundle again."
        ) from error
    return found


def precision_of(weights: Mapping[str, int]) -> Precision:
    """Return the precision that a file has by its weights: the same shares as for an engine.

    Args:
        weights: numbers by type.
    """
    total = max(1, sum(weights.values()))
    if weights.get("int8", 0) / total >= 0.5:
        return "int8"
    if weights.get("float16", 0) / total >= 0.9:
        return "fp16"
    return "fp32"


def weights_of(path: Path) -> Path:
    """Return the `.bin` that belongs to a `.param`."""
    return path.with_suffix(".bin")


def precision_of_file(path: Path) -> Precision:
    """Return the precision of the weights that belong to a `.param`.

    Raises:
        InputError: one of the two files is missing or damaged.
    """
    return precision_of(weights_by_type(read(path), weights_of(path)))
