"""What INT8 is calibrated on and how: ranges of every tensor, by three methods."""

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
"""Of a tensor's magnitudes; what lies above is clipped (the usual choice)."""


@dataclass(frozen=True)
class Calibration:
    """Ranges of the tensors of a graph, and where they come from."""

    images: str
    """How the images were chosen: `selected` or `random`."""
    method: Method
    ranges: Any
    """onnxruntime.quantization's `TensorsData`."""


def prepared(source: Path) -> ModelProto:
    """A float32 file with its constants folded and its shapes known, as quantisation wants it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
        return onnx.load(path)


def calibrate(model: ModelProto, images: Floats, *, name: str, method: Method) -> Calibration:
    """Watch every tensor around a matrix operator over images [N, 3, S, S], normalised."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    options: dict[str, Any] = {"symmetric": True}
    if method == "percentile":
        options |= {"percentile": PERCENTILE, "num_bins": 2048}
    # It prints what it does; stdout is the caller's.
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            str(path),
            list(graph.MATRIX_OPERATORS),
            augmented_model_path=str(Path(folder) / "watched.onnx"),
            calibrate_method=methods[method],
            extra_options=options,
        )
        # In chunks: the histograms keep every tensor of what they are given at once.
        for start in range(0, len(images), CHUNK):
            calibrator.collect_data(_reader(images[start : start + CHUNK]))
        return Calibration(name, method, calibrator.compute_data())


def _reader(images: Floats) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self._left: Iterator[Floats] = iter([images])

        def get_next(self) -> dict[str, Floats] | None:
            chunk = next(self._left, None)
            return None if chunk is None else {"images": chunk}

    return Reader()
