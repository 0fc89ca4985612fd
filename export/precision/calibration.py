"""Calibration of INT8: the range of every tensor on some images, by one of three methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import onnx
from onnx import ModelProto

from export import graph
from export.graph import CHUNK
from runtime.arrays import Floats

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.99
"""Magnitudes of a tensor above this percentile are clipped (the usual choice)."""


@dataclass(frozen=True)
class Calibration:
    """Ranges of the tensors of a graph, and how they were measured."""

    images: str
    """How the images were chosen: `selected` or `random`."""
    method: Method
    ranges: Any
    """onnxruntime.quantization's `TensorsData`."""


def prepare(source: Path) -> ModelProto:
    """Return a float32 file with constants folded and shapes inferred, as quantisation needs it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
        return onnx.load(path)


def calibrate(model: ModelProto, images: Floats, *, name: str, method: Method) -> Calibration:
    """Measure the tensors around matrix operators over images [N, 3, S, S], normalised.

    Args:
        model: see `prepare`.
        images: training images.
        name: how they were chosen.
        method: how a range follows from the values.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    options: dict[str, object] = {"symmetric": True}
    if method == "percentile":
        options |= {"percentile": PERCENTILE, "num_bins": 2048}
    # The calibrator prints; stdout belongs to the caller.
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            str(path),
            list(graph.MATRIX_OPERATORS),
            augmented_model_path=str(Path(folder) / "calibrated.onnx"),
            calibrate_method=methods[method],
            extra_options=options,
        )
        # In chunks: the histograms keep every tensor of the images that they get at once.
        for start in range(0, len(images), CHUNK):
            calibrator.collect_data(_reader(images[start : start + CHUNK]))
        return Calibration(name, method, calibrator.compute_data())


def _reader(images: Floats) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self._chunks: Iterator[Floats] = iter([images])

        def get_next(self) -> dict[str, Floats] | None:
            chunk = next(self._chunks, None)
            return None if chunk is None else {"images": chunk}

    return Reader()
