"""INT8: the student as Q/DQ by static quantisation, with the best calibration that was found.

Symmetric, per-channel weights, no quantised bias (TensorRT refuses the int32), convolutions and
matrix products only, so that ONNX Runtime and TensorRT read the same file. The probe stays float.
Everything is chosen by how near the embeddings of validation images stay to those of the float32
file: agreement with the teacher moves in steps of one image, and is reported, not chosen by.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from export import graph
from export.precision.calibration import METHODS, Calibration, Method, calibrate, prepared
from runtime.arrays import Floats
from runtime.progress import Track, silent

WORTH = 2.0
"""Layers stay in float while they take off at least this share of the error for their share of the
multiply-adds: 10 % of the work back in float must remove 20 % of the error."""
SEARCH_IMAGES = 64
"""Validation images of the search for sensitive layers, at most; it looks at every layer."""


@dataclass(frozen=True)
class Trial:
    """One calibration and what came of it."""

    images: str
    method: Method
    error: float
    """1 - mean cosine with the float32 file's embeddings, on validation images."""


@dataclass(frozen=True)
class Sensitivity:
    """What one layer costs alone."""

    layer: str
    error: float
    """With only this layer quantised."""
    work: float
    """Its share of the multiply-adds."""


@dataclass(frozen=True)
class Step:
    """So many of the most sensitive layers in float."""

    layers: int
    error: float
    work: float
    """Their share of the multiply-adds."""


@dataclass(frozen=True)
class Decision:
    """How the INT8 file came to be."""

    trials: tuple[Trial, ...]
    images: str
    method: Method
    float_layers: tuple[str, ...]
    steps: tuple[Step, ...]
    error: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "calibration_images": self.images,
            "calibration_method": self.method,
            "calibrations_tried": [asdict(each) for each in self.trials],
            "layers_kept_float": list(self.float_layers),
            "layers_steps": [asdict(each) for each in self.steps],
            "worth": WORTH,
            "error": self.error,
        }


@dataclass(frozen=True)
class Quantiser:
    """A prepared float32 graph and what its embeddings should be."""

    model: ModelProto
    validation: Floats
    """Images [N, 3, S, S], normalised: what is chosen by."""
    expected: Floats
    """[N, D]: the float32 file's answers to them."""

    @classmethod
    def of(cls, source: Path, validation: Floats) -> Quantiser:
        """Of a float32 file."""
        model = prepared(source)
        return cls(model, validation, graph.embeddings(model, validation))

    @property
    def layers(self) -> tuple[str, ...]:
        """Nodes that can be quantised, in order."""
        behind = set(graph.head(self.model))
        return tuple(
            node.name
            for node in self.model.graph.node
            if node.op_type in graph.MATRIX_OPERATORS and node.name not in behind
        )

    def quantised(self, calibration: Calibration, layers: Collection[str]) -> ModelProto:
        """The graph with Q/DQ around some layers."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        quantiser = QDQQuantizer(
            copy.deepcopy(self.model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=calibration.ranges,
            nodes_to_quantize=list(layers),
            nodes_to_exclude=[],
            op_types_to_quantize=list(graph.MATRIX_OPERATORS),
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                # The last product of a CNN is its embedding: an answer is not rounded.
                "OpTypesToExcludeOutputQuantization": ["Gemm"],
            },
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
        model: ModelProto = quantiser.model.model
        return model

    def error(self, model: ModelProto, most: int | None = None) -> float:
        """1 - mean cosine with what the embeddings should be, on validation images."""
        got = graph.embeddings(model, self.validation[:most])
        return float(1 - graph.cosines(got, self.expected[:most]).mean())


def make(
    source: Path,
    path: Path,
    calibration: Mapping[str, Floats],
    validation: Floats,
    *,
    track: Track = silent,
) -> Decision:
    """Write the INT8 file of a float32 file.

    Args:
        source: the student in float32.
        path: the file to write.
        calibration: choices of training images by name (`selected`, `random`), each [N, 3, S, S].
        validation: images [N, 3, S, S] that the choices are compared on; no held-out ones.
        track: shows the progress.
    """
    quantiser = Quantiser.of(source, validation)
    best, trials = best_calibration(quantiser, calibration, track=track)
    found = sensitivities(quantiser, best, track=track)
    float_layers, steps = worth_floating(quantiser, best, found)
    kept = [layer for layer in quantiser.layers if layer not in float_layers]
    model = quantiser.quantised(best, kept)
    decision = Decision(
        trials, best.images, best.method, float_layers, steps, quantiser.error(model)
    )
    graph.save(model, path, {"precision": "int8", "int8": decision.to_dict()})
    return decision


def best_calibration(
    quantiser: Quantiser, choices: Mapping[str, Floats], *, track: Track = silent
) -> tuple[Calibration, tuple[Trial, ...]]:
    """Of every choice of images by every method, the one with the least error."""
    wanted = [(name, method) for name in choices for method in METHODS]
    tried = []
    for name, method in track(wanted, label="calibrating INT8", total=len(wanted)):
        each = calibrate(quantiser.model, choices[name], name=name, method=method)
        error = quantiser.error(quantiser.quantised(each, quantiser.layers))
        tried.append((error, each))
    best = min(tried, key=lambda pair: pair[0])[1]
    return best, tuple(Trial(each.images, each.method, error) for error, each in tried)


def sensitivities(
    quantiser: Quantiser, calibration: Calibration, *, track: Track = silent
) -> tuple[Sensitivity, ...]:
    """Every layer's error when it alone is quantised, and its share of the work."""
    work = _work(quantiser)
    layers = quantiser.layers
    return tuple(
        Sensitivity(
            layer,
            quantiser.error(quantiser.quantised(calibration, [layer]), SEARCH_IMAGES),
            work[layer],
        )
        for layer in track(layers, label="INT8, layer by layer", total=len(layers))
    )


def worth_floating(
    quantiser: Quantiser, calibration: Calibration, found: Sequence[Sensitivity]
) -> tuple[tuple[str, ...], tuple[Step, ...]]:
    """The layers that stay float, and the steps by which they were found.

    Layers are taken by their error for their work, twice as many at each step up to half of all. A
    step is kept if it takes off enough of the error (`WORTH`) for the work it takes back.
    """
    # A layer's turn costs something however small it is: a conversion on either side.
    typical = 1 / len(found)
    order = sorted(found, key=lambda each: each.error / (each.work + typical), reverse=True)

    def measured(count: int) -> Step:
        taken = order[:count]
        left = [each.layer for each in order[count:]]
        error = quantiser.error(quantiser.quantised(calibration, left), SEARCH_IMAGES)
        return Step(count, error, round(sum(each.work for each in taken), 4))

    steps = [measured(0)]
    kept = steps[0]
    count = 1
    while count <= len(order) // 2:
        step = measured(count)
        steps.append(step)
        taken_off = (kept.error - step.error) / max(steps[0].error, 1e-12)
        if taken_off >= WORTH * (step.work - kept.work) and taken_off > _NOISE:
            kept = step
        count *= 2
    return tuple(each.layer for each in order[: kept.layers]), tuple(steps)


_NOISE = 0.05
"""Less of the error than this is none: other images would order the layers otherwise."""


def _work(quantiser: Quantiser) -> dict[str, float]:
    model = quantiser.model
    seen = graph.observe(model, quantiser.validation[:1])
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    layers = set(quantiser.layers)
    counted = {
        node.name: graph.multiplications(node, seen, shapes)
        for node in model.graph.node
        if node.name in layers
    }
    total = sum(counted.values())
    return {name: count / total for name, count in counted.items()}
