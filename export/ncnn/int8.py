"""INT8 networks of ncnn, made of one in float32.

ncnn's own programs for this, ncnn2table and ncnn2int8, are in no package. The rules are theirs:
convolutions and linear layers with integer weights, a scale for each of their outputs and one for
their input, all symmetric; a convolution that feeds nothing but another one hands integers on.
Other layers stay in float32, with embedding layer and probe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from export import reference
from export.ncnn.convert import Traced, require_delivered
from export.ncnn.convert import make as make_float
from runtime.arrays import AnyArray, Floats
from runtime.backends.base import SessionOptions
from runtime.backends.ncnn.network import EMBEDDING, Layer, Network, read
from runtime.backends.ncnn.session import NcnnSession
from runtime.backends.ncnn.weights import INT8_TAG, arrays_of, weights_of
from runtime.errors import FileNotMadeError
from runtime.files import replacing, write_text

_CONVOLUTIONS = frozenset({"Convolution", "ConvolutionDepthWise"})
_PERCENTILE = 99.99
_LARGEST = 127
_LARGEST_OF_WINOGRAD = 31
"""Of weights of 3 x 3 convolutions with stride 1: ncnn may add up nine of them in 16 bits."""
_HANDED_ON = 100
"""Added to the setting of a layer that gives integers."""
Method = Literal["minmax", "percentile"]


class Trial(Struct, frozen=True):
    """How ranges of activations were measured, and the error that it gave."""

    method: Method
    error: float
    """1 - mean cosine with float32, on validation images."""


def make(source: Traced, path: Path, calibration: Floats, validation: Floats) -> tuple[Trial, ...]:
    """Write a student as a `.param` and a `.bin` in INT8.

    Args:
        source: the student.
        path: the `.param` to write.
        calibration: images [N, 3, S, S] that the ranges of activations are measured on.
        validation: images that the way of measuring is chosen on.

    Returns:
        What was tried, the best first; that is in the file.

    Raises:
        FileNotMadeError: it cannot be converted, or less than half of its weights are in
            convolutions.
    """
    whole = path.with_name(f"{path.stem}-whole{path.suffix}")
    try:
        make_float(source, whole, "fp32")
        session = NcnnSession(whole, SessionOptions(threads=1))
        network, arrays = read(whole), arrays_of(read(whole), weights_of(whole))
        ranges = _ranges(session, _chosen(network), calibration)
        expected = session.run(validation).embedding
        tried = []
        for method, largest in ranges.items():
            _write(path, network, arrays, largest)
            got = NcnnSession(path, SessionOptions(threads=1)).run(validation).embedding
            tried.append(Trial(method, 1 - reference.mean_cosine(got, expected)))
        best, *others = sorted(tried, key=lambda trial: trial.error)
        _write(path, network, arrays, ranges[best.method])
    finally:
        for made in (whole, weights_of(whole)):
            made.unlink(missing_ok=True)
    require_delivered(path, "int8", source)
    return (best, *others)


def _chosen(network: Network) -> list[Layer]:
    """Return the layers to quantise: those that the embedding layer depends on.

    Raises:
        FileNotMadeError: less than half of the weights are in them.
    """
    makers = {name: layer for layer in network.layers for name in layer.outputs}
    last, before = makers[EMBEDDING], dict[str, Layer]()
    while last.kind == "Split":
        last = makers[last.inputs[0]]
    ahead = [last]  # itself left out: the embedding layer, or a layer without weights
    while ahead:
        for name in ahead.pop().inputs:
            if (layer := makers[name]).name not in before:
                before[layer.name] = layer
                ahead.append(layer)
    chosen = [
        layer
        for layer in network.layers
        if layer.name in before and layer.kind in (*_CONVOLUTIONS, "InnerProduct")
    ]
    sizes = Counter[str]()
    for layer in network.layers:
        sizes[layer.kind] += _weights(layer)
    total = max(1, sizes.total())
    if sum(map(_weights, chosen)) / total < 0.5:
        shares = ", ".join(f"{kind} {size / total:.0%}" for kind, size in sizes.most_common(3))
        raise FileNotMadeError(
            "ncnn's INT8 is made of convolutions and linear layers before the embedding layer; "
            f"less than half of this student's weights are in them ({shares})"
        )
    return chosen


def _weights(layer: Layer) -> int:
    if layer.kind == "Gemm":
        return layer.number(8) * layer.number(9)
    keys = {"InnerProduct": 2, "Convolution": 6, "ConvolutionDepthWise": 6}
    return layer.number(keys[layer.kind]) if layer.kind in keys else 0


def _ranges(
    session: NcnnSession, layers: Sequence[Layer], images: Floats
) -> dict[Method, dict[str, float]]:
    """Return the largest value of the input of each layer, by its name."""
    largest: dict[Method, dict[str, float]] = {"minmax": {}, "percentile": {}}
    for image in images:
        blobs = session.blobs(image, [layer.inputs[0] for layer in layers])
        for layer, blob in zip(layers, blobs, strict=True):
            values = np.abs(blob)
            found = {"minmax": values.max(), "percentile": np.percentile(values, _PERCENTILE)}
            for method, known in largest.items():
                known[layer.name] = max(known.get(layer.name, 0.0), float(found[method]))
    return largest


def _write(
    path: Path,
    network: Network,
    arrays: Mapping[str, Sequence[AnyArray]],
    largest: Mapping[str, float],
) -> None:
    scales = {name: _LARGEST / value if value > 0 else 1.0 for name, value in largest.items()}
    takers = Counter(name for layer in network.layers for name in layer.inputs)
    by_input = {
        layer.inputs[0]: layer.name
        for layer in network.layers
        if layer.name in scales and layer.kind in _CONVOLUTIONS
    }
    layers, content = list[Layer](), bytearray()
    for layer in network.layers:
        if layer.name not in scales:
            layers.append(layer)
            for array in arrays[layer.name]:
                content += array.tobytes()
            continue
        (gives,) = layer.outputs
        follower = by_input.get(gives) if takers[gives] == 1 else None
        if layer.kind not in _CONVOLUTIONS:
            follower = None
        setting = 1 if layer.kind == "ConvolutionDepthWise" else 2
        setting += _HANDED_ON if follower else 0
        layers.append(replace(layer, settings={**layer.settings, "8": str(setting)}))
        tag, weight, *bias = arrays[layer.name]
        del tag
        kept, weight_scales = _rounded(layer, weight)
        content += INT8_TAG.to_bytes(4, "little") + kept.tobytes() + b"\0" * (-kept.size % 4)
        for values in (
            *bias,
            weight_scales,
            np.array([scales[layer.name]], np.float32),
            *([np.array([scales[follower]], np.float32)] if follower else []),
        ):
            content += values.astype("<f4").tobytes()
    with replacing(weights_of(path)) as temporary:
        temporary.write_bytes(bytes(content))
    write_text(path, Network(tuple(layers)).text())


def _rounded(layer: Layer, weight: AnyArray) -> tuple[AnyArray, Floats]:
    """Return int8 weights, and what each output's were multiplied with."""
    sides = {layer.number(1), layer.number(11, layer.number(1))}
    strides = {layer.number(3, 1), layer.number(13, layer.number(3, 1))}
    small = layer.kind == "Convolution" and sides == {3} and strides == {1}
    most = _LARGEST_OF_WINOGRAD if small else _LARGEST
    depthwise = layer.kind == "ConvolutionDepthWise"
    rows = weight.reshape(layer.number(7) if depthwise else layer.number(0), -1)
    largest = np.abs(rows).max(axis=1)
    scales: Any = np.where(largest > 0, most / np.where(largest > 0, largest, 1), 1.0)
    kept = np.clip(np.rint(rows * scales[:, None]), -most, most).astype(np.int8)
    return kept, scales.astype(np.float32)
