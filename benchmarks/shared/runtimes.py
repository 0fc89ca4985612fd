"""The runtimes that `backends.py` compares: how each makes a student's file, and opens it.

A new one is an entry of `RUNTIMES`. One that is not installed, or cannot take a student, says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export import graph, precision_proof
from export.litert import convert as litert
from export.litert import precision as litert_precision
from export.ncnn import convert as ncnn
from export.ncnn import int8 as ncnn_int8
from export.onnx_file import Deployed, export
from export.precision import fp16
from export.precision.int8 import Quantiser, best_calibration
from runtime.arrays import Floats
from runtime.backends.base import Outputs, Session, SessionOptions
from runtime.backends.openvino.backend import OpenVino
from runtime.backends.registry import open_session

CALIBRATED = 32
"""Images that FP16 and INT8 are measured on."""


@dataclass(frozen=True)
class Source:
    """A student with its probe, in torch and as the ONNX file that others are made from."""

    folder: Path
    network: Deployed
    size_px: int
    fitted: Floats
    """Images to calibrate on, [N, 3, S, S]."""
    asked: Floats
    """Images to answer."""
    expected: Outputs
    """Torch's answers to them."""

    @property
    def onnx(self) -> Path:
        """The FP32 file."""
        return self.folder / "student.fp32.onnx"


@dataclass(frozen=True)
class Runtime:
    """One way to run a student."""

    name: str
    make: Callable[[Source, str], Path]
    """Make a file in a precision."""
    open: Callable[[Path, str, int], Session]
    """Open it, with a number of threads."""


def onnx_file(source: Source, precision: str) -> Path:
    """Return the ONNX file in a precision, made at the first call."""
    path = source.folder / f"student.{precision}.onnx"
    if path.is_file():
        return path
    images = source.fitted[:CALIBRATED]
    if precision == "fp32":
        export(source.network, source.size_px, path, {})
    elif precision == "fp16":
        fp16.make(source.onnx, path, images, images)
    else:
        quantiser = Quantiser.of(source.onnx, images)
        ranges, _ = best_calibration(quantiser, {"even": images})
        graph.save(quantiser.quantised(ranges, quantiser.layers), path, {"precision": "int8"})
    precision_proof.prove(path, precision)
    return path


def by_its_ending(path: Path, precision: str, threads: int) -> Session:
    """Open a file in the first runtime that opens its kind."""
    return open_session(path, provider="cpu", threads=threads)


def in_openvino(path: Path, precision: str, threads: int) -> Session:
    """Open a file in OpenVINO, which proves what it computes in."""
    return OpenVino().open_as(path, precision, SessionOptions(threads=threads))


def ncnn_file(source: Source, precision: str) -> Path:
    """Return the network of ncnn in a precision.

    Raises:
        FileNotMadeError: it cannot be made.
        MissingDependencyError: pnnx or ncnn is not installed.
    """
    traced = ncnn.trace(source.network, source.size_px, source.folder / "student.pt")
    path = source.folder / f"student.{precision}.ncnn.param"
    if precision == "int8":
        images = source.fitted[:CALIBRATED]
        ncnn_int8.make(traced, path, images, images)
    else:
        ncnn.make(traced, path, "fp16" if precision == "fp16" else "fp32")
    return path


def litert_file(source: Source, precision: str) -> Path:
    """Return the file of LiteRT in a precision.

    Raises:
        FileNotMadeError: it cannot be made.
        MissingDependencyError: litert-torch, its quantiser or LiteRT is not installed.
    """
    path = source.folder / f"student.{precision}.tflite"
    converted = litert.convert(source.network, source.size_px, source.folder / "source.tflite")
    if precision == "fp32":
        converted.path.rename(path)
    elif precision == "fp16":
        litert_precision.fp16(converted, path)
    else:
        images = source.fitted[:CALIBRATED]
        litert_precision.int8(converted, path, images, images)
    return path


RUNTIMES = (
    Runtime("ONNX Runtime", onnx_file, by_its_ending),
    Runtime("OpenVINO", onnx_file, in_openvino),
    Runtime("ncnn", ncnn_file, by_its_ending),
    Runtime("LiteRT", litert_file, by_its_ending),
)
