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
from export.refusals import refused_by
from runtime.arrays import Floats
from runtime.backends.ort_library import import_onnxruntime

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
    """Return a float32 file with constants folded and shapes inferred, as quantisation needs it.

    Raises:
        FileNotMadeError: ONNX Runtime cannot prepare it.
    """
    import_onnxruntime()  # without telemetry
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with refused_by("ONNX Runtime's preparation for INT8"), TemporaryDirectory() as folder:
        folded, path = Path(folder) / "folded.onnx", Path(folder) / "prepared.onnx"
        graph.fold(source, folded)
        options = {"skip_symbolic_shape": True, "skip_optimization": True}
        quant_pre_process(str(folded), str(path), **options)
        return onnx.load(path)


def calibrate(model: ModelProto, images: Floats, *, name: str, method: Method) -> Calibration:
    """Measure the tensors around matrix operators over images [N, 3, S, S], normalised.

    Args:
        model: see `prepare`.
        images: training images.
        name: how they were chosen.
        method: how a range follows from the values.

    Raises:
        FileNotMadeError: ONNX Runtime cannot calibrate this graph.
    """
    import_onnxruntime()
    from onnxruntime.quantization import calibrate

    calibrators = {
        "minmax": calibrate.MinMaxCalibrater,
        "entropy": calibrate.EntropyCalibrater,
        "percentile": calibrate.PercentileCalibrater,
    }
    options: dict[str, object] = {"symmetric": True}
    if method == "percentile":
        options |= {"percentile": PERCENTILE, "num_bins": 2048}
    with (
        refused_by("ONNX Runtime's calibration"),
        TemporaryDirectory() as folder,
        redirect_stdout(StringIO()),  # the calibrator prints; stdout belongs to the caller
    ):
        path, observed = Path(folder) / "model.onnx", str(Path(folder) / "observed.onnx")
        onnx.save(model, path)
        operators = list(graph.MATRIX_OPERATORS)
        calibrator = calibrators[method](str(path), operators, observed, **options)
        calibrator.augment_graph()
        calibrator.infer_session = graph.unchanged_session(observed)
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
