"""INT8 files: static quantisation with Q/DQ nodes, the best of several calibrations.

Symmetric, per-channel weights, no quantised bias (TensorRT refuses the int32), convolutions and
matrix products only, so that ONNX Runtime and TensorRT read the same file. The probe stays float.
All decisions compare the embeddings of validation images with those of the float32 file: agreement
with the teacher moves in steps of one image, so it is reported and decides nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onnx import ModelProto

from export import graph
from export.precision.calibration import METHODS, Calibration, Method, calibrate, prepare
from export.refusals import refused_by
from runtime.arrays import Floats
from runtime.backends.ort_library import import_onnxruntime
from runtime.errors import FileNotMadeError
from runtime.progress import Track, silent
from runtime.results.making import CalibrationTrial, FloatLayers, Int8Decision
from runtime.results.scores import to_json

WORTH = 2.0
"""Layers go back to float while they remove at least this multiple of their share of the work
(multiply-adds) from the error: 10 % of the work in float must remove 20 % of the error."""
SEARCH_IMAGES = 64
"""Most validation images in the search for sensitive layers, which measures every layer."""
MOST_FLOAT = 1 - graph.LEAST["int8"]
"""Largest share of the weights that may stay float: else the file would not be INT8."""


@dataclass(frozen=True)
class Trial:
    """One calibration and its error."""

    images: str
    method: Method
    error: float
    """1 - mean cosine with the float32 file's embeddings, on validation images."""


@dataclass(frozen=True)
class Sensitivity:
    """The error that one layer alone causes."""

    layer: str
    error: float
    """With only this layer quantised."""
    work: float
    """Its share of the multiply-adds."""
    weights: float
    """Its share of the weights."""


@dataclass(frozen=True)
class Step:
    """A step of the search: so many of the most sensitive layers in float."""

    layers: int
    error: float
    work: float
    """Their share of the multiply-adds."""
    weights: float
    """Their share of the weights."""


@dataclass(frozen=True)
class Decision:
    """The calibration and the float layers of an INT8 file, with all that was tried."""

    trials: tuple[Trial, ...]
    images: str
    method: Method
    float_layers: tuple[str, ...]
    steps: tuple[Step, ...]
    error: float

    def result(self) -> Int8Decision:
        """Return the decision for the report."""
        return Int8Decision(
            calibration_images=self.images,
            calibration_method=self.method,
            calibrations_tried=tuple(CalibrationTrial(**asdict(trial)) for trial in self.trials),
            layers_kept_float=self.float_layers,
            layers_steps=tuple(FloatLayers(**asdict(step)) for step in self.steps),
            worth=WORTH,
            error=self.error,
        )


@dataclass(frozen=True)
class Quantiser:
    """A prepare float32 graph and its embeddings of validation images."""

    model: ModelProto
    validation: Floats
    """Images [N, 3, S, S], normalised, that errors are measured on."""
    expected: Floats
    """[N, D]: their embeddings by the float32 file."""

    @classmethod
    def of(cls, source: Path, validation: Floats) -> Quantiser:
        """Prepare a float32 file."""
        model = prepare(source)
        return cls(model, validation, graph.embeddings(model, validation))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the nodes that can be quantised, in order."""
        behind = set(graph.head(self.model))
        return tuple(
            node.name
            for node in self.model.graph.node
            if node.op_type in graph.MATRIX_OPERATORS and node.name not in behind
        )

    def quantised(self, calibration: Calibration, layers: Collection[str]) -> ModelProto:
        """Return the graph with Q/DQ around some layers."""
        import_onnxruntime()
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
                # The last product of a CNN is its embedding: an output is not rounded.
                "OpTypesToExcludeOutputQuantization": ["Gemm"],
            },
        )
        with refused_by("ONNX Runtime's quantiser"):
            quantiser.quantize_model()
            quantiser.model.topological_sort()
        model: ModelProto = quantiser.model.model
        return model

    def error(self, model: ModelProto, most: int | None = None) -> float:
        """Return 1 - mean cosine with the float32 embeddings, on validation images."""
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
        calibration: sets of training images [N, 3, S, S], by name (`selected`, `random`).
        validation: images [N, 3, S, S] that errors are measured on; no held-out ones.
        track: shows the progress.

    Raises:
        FileNotMadeError: there is nothing to quantise, or ONNX Runtime cannot.
    """
    quantiser = Quantiser.of(source, validation)
    if not quantiser.layers:
        raise FileNotMadeError("no convolution and no matrix product is left to quantise")
    best, trials = best_calibration(quantiser, calibration, track=track)
    sensitive = sensitivities(quantiser, best, track=track)
    float_layers, steps = choose_float_layers(quantiser, best, sensitive)
    kept = [layer for layer in quantiser.layers if layer not in float_layers]
    model = quantiser.quantised(best, kept)
    decision = Decision(
        trials, best.images, best.method, float_layers, steps, quantiser.error(model)
    )
    graph.save(model, path, {"precision": "int8", "int8": to_json(decision.result())})
    return decision


def best_calibration(
    quantiser: Quantiser, choices: Mapping[str, Floats], *, track: Track = silent
) -> tuple[Calibration, tuple[Trial, ...]]:
    """Calibrate every set of images by every method; the one with the least error comes first."""
    pairs = [(name, method) for name in choices for method in METHODS]
    tried = []
    for name, method in track(pairs, label="calibrating INT8", total=len(pairs)):
        calibration = calibrate(quantiser.model, choices[name], name=name, method=method)
        error = quantiser.error(quantiser.quantised(calibration, quantiser.layers))
        tried.append((error, calibration))
    best = min(tried, key=lambda pair: pair[0])[1]
    return best, tuple(Trial(one.images, one.method, error) for error, one in tried)


def sensitivities(
    quantiser: Quantiser, calibration: Calibration, *, track: Track = silent
) -> tuple[Sensitivity, ...]:
    """Measure the error of each layer when it alone is quantised, and its shares."""
    work, weights, layers = _work(quantiser), _weights(quantiser), quantiser.layers
    return tuple(
        Sensitivity(
            layer,
            quantiser.error(quantiser.quantised(calibration, [layer]), SEARCH_IMAGES),
            work[layer],
            weights[layer],
        )
        for layer in track(layers, label="INT8, layer by layer", total=len(layers))
    )


def choose_float_layers(
    quantiser: Quantiser, calibration: Calibration, sensitive: Sequence[Sensitivity]
) -> tuple[tuple[str, ...], tuple[Step, ...]]:
    """Return the layers that stay float, and the steps of the search.

    Layers go back to float in the order of error per work, twice as many at each step, up to
    `MOST_FLOAT` of the weights: a layer that is too large for what is left is passed over. A step
    is kept if it removes enough of the error (`WORTH`) for its work.
    """
    # Even a small float layer costs time: a conversion on either side.
    typical = 1 / len(sensitive)
    order = sorted(sensitive, key=lambda one: one.error / (one.work + typical), reverse=True)
    candidates = _that_fit(order)

    def measured(count: int) -> Step:
        in_float = candidates[:count]
        names = {one.layer for one in in_float}
        in_int8 = [one.layer for one in sensitive if one.layer not in names]
        error = quantiser.error(quantiser.quantised(calibration, in_int8), SEARCH_IMAGES)
        work, weights = (sum(each) for each in _shares(in_float))
        return Step(count, error, round(work, 4), round(weights, 4))

    steps = [measured(0)]
    kept = steps[0]
    count = 1
    while count <= len(candidates):
        step = measured(count)
        steps.append(step)
        removed = (kept.error - step.error) / max(steps[0].error, 1e-12)
        if removed >= WORTH * (step.work - kept.work) and removed > _NOISE:
            kept = step
        count *= 2
    return tuple(one.layer for one in candidates[: kept.layers]), tuple(steps)


def _that_fit(order: Sequence[Sensitivity]) -> list[Sensitivity]:
    """Those that may stay float together, in their order."""
    chosen, left = list[Sensitivity](), MOST_FLOAT
    for one in order:
        if one.weights <= left:
            chosen.append(one)
            left -= one.weights
    return chosen


def _shares(layers: Sequence[Sensitivity]) -> tuple[list[float], list[float]]:
    return [one.work for one in layers], [one.weights for one in layers]


_NOISE = 0.05
"""A smaller share of the error is noise: other images would order the layers differently."""


def _weights(quantiser: Quantiser) -> dict[str, float]:
    counts = dict.fromkeys(quantiser.layers, 0)
    for weight in graph.weights(quantiser.model):
        counts[weight.node] += weight.elements
    total = sum(counts.values())
    return {name: count / total if total else 0.0 for name, count in counts.items()}


def _work(quantiser: Quantiser) -> dict[str, float]:
    model = quantiser.model
    observed = graph.observe(model, quantiser.validation[:1])
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    layers = set(quantiser.layers)
    multiplications = {
        node.name: graph.multiplications(node, observed, shapes)
        for node in model.graph.node
        if node.name in layers
    }
    total = sum(multiplications.values())
    return {name: count / total for name, count in multiplications.items()}
