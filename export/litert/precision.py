"""FP16 and INT8 files of LiteRT, made of one in float32 by its own quantiser.

INT8 is static: weights and activations are integers between the operators. The probe stays in
float32, because a class without a label has the logit -1e4. So do the layers that normalise a
transformer, where that costs the least: with all operators in INT8, a ViT of the tests had a cosine
of 0.90 with float32, and with those alone that have weights, 0.999.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from export import reference
from export.litert.convert import Converted, quiet, require_delivered
from export.refusals import UNFORESEEN
from runtime.arrays import Floats
from runtime.backends.base import SessionOptions
from runtime.backends.litert.session import INPUT, SIGNATURE, LiteRtSession
from runtime.errors import FileNotMadeError
from runtime.files import replacing

_STUDENT = ".*_student.*"
"""Names of operators of the student, not of its probe: paths of modules, see `_Named`."""
_WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL")
_WIDENED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""What the quantiser keeps in half precision."""
_WORTH = 0.5
"""Operators without weights leave INT8 if this lowers the error to less than so much of it: each
of them costs two conversions."""


class Trial(Struct, frozen=True):
    """Which operators are INT8, and the error that it gave."""

    operators: Literal["all", "with weights"]
    error: float
    """1 - mean cosine with float32, on validation images."""


def fp16(source: Converted, path: Path) -> None:
    """Write a file with weights in half precision.

    Raises:
        FileNotMadeError: the quantiser refuses it, or its file is not what was ordered.
    """
    import ai_edge_quantizer.qtyping as kinds
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    half = kinds.OpQuantizationConfig(
        weight_tensor_config=kinds.TensorQuantizationConfig(
            num_bits=16, dtype=kinds.TensorDataType.FLOAT
        ),
        compute_precision=kinds.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )

    def order(quantiser: Any) -> None:
        for operator in _WIDENED:
            quantiser.update_quantization_recipe(".*", operator, half, AlgorithmName.FLOAT_CASTING)

    _quantised(source, path, order, None)
    require_delivered(path, "fp16", source.reference)


def int8(
    source: Converted, path: Path, calibration: Floats, validation: Floats
) -> tuple[Trial, ...]:
    """Write a file that computes in INT8.

    Args:
        source: in float32.
        path: the file to write.
        calibration: images [N, 3, S, S] that the ranges of activations are measured on.
        validation: images that the choice of operators is made on.

    Returns:
        What was tried; the first is in the file.

    Raises:
        FileNotMadeError: the quantiser refuses it, or its file does not compute in INT8.
    """
    expected = _answers(source.path, validation)
    tried = list[tuple[Trial, Path]]()
    choices: dict[Literal["all", "with weights"], Sequence[str]] = {
        "all": ("*",),
        "with weights": _WITH_WEIGHTS,
    }
    for name, operators in choices.items():
        candidate = path.with_name(f"{path.stem}-{len(tried)}{path.suffix}")
        _quantised(source, candidate, _static(operators), calibration)
        got = _answers(candidate, validation)
        tried.append((Trial(name, 1 - reference.mean_cosine(got, expected)), candidate))
    (whole, first), (part, second) = tried
    best, other = (second, first) if part.error < _WORTH * whole.error else (first, second)
    other.unlink()
    best.replace(path)
    require_delivered(path, "int8", source.reference)
    return (part, whole) if best is second else (whole, part)


def _static(operators: Sequence[str]) -> Callable[[Any], None]:
    """Order INT8 for operators of the student; the ends stay in float32."""
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    def order(quantiser: Any) -> None:
        for operator in operators:
            quantiser.add_static_config(_STUDENT, operator, 8, 8)
        for end in ("INPUT", "OUTPUT"):
            quantiser.update_quantization_recipe(".*", end, None, AlgorithmName.NO_QUANTIZE)

    return order


def _quantised(
    source: Converted, path: Path, order: Callable[[Any], None], images: Floats | None
) -> None:
    from ai_edge_quantizer.quantizer import Quantizer

    try:
        with quiet(), replacing(path) as temporary:
            quantiser = Quantizer(source.path)
            order(quantiser)
            ranges = None
            if images is not None:
                given = [{INPUT: image[None]} for image in images]
                ranges = quantiser.calibrate({SIGNATURE: given}, num_threads=1)
            quantiser.quantize(ranges).export_model(temporary, overwrite=True)
    except UNFORESEEN as error:
        raise FileNotMadeError(f"LiteRT's quantiser refused: {reference.said(error)}") from error


def _answers(path: Path, images: Floats) -> Floats:
    session = LiteRtSession(path, SessionOptions(threads=1))
    return np.concatenate([session.run(image[None]).embedding for image in images])
