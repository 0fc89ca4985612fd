"""Read an ONNX file with TensorRT's parser; errors name the node and the way out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.errors import FileNotMadeError


@dataclass
class Log:
    """The messages of TensorRT that are needed later."""

    problems: list[str] = field(default_factory=list)
    """Its errors, and warnings that came with them."""
    layers: list[str] = field(default_factory=list)
    """The lines in which the builder lists the layers of the engine."""

    def logger(self, trt: Any) -> Any:
        """Return a TensorRT logger that writes to this log."""
        log, errors = self, (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in errors:
                    log.problems.append(message.strip())
                elif "LayerType:" in message:
                    log.layers += message.splitlines()

        return Logger()


def parse(trt: Any, network: Any, path: Path, log: Any) -> None:
    """Read an ONNX file into an empty network.

    Raises:
        FileNotMadeError: TensorRT refuses it; with every node it named, what it does, what to do.
    """
    parser = trt.OnnxParser(network, log)
    if parser.parse(path.read_bytes()) and parser.num_errors == 0:
        return
    refusals = [_refusal(parser.get_error(n)) for n in range(parser.num_errors)]
    listed = "\n  ".join(dict.fromkeys(refusals)) or "no reason was given"
    raise FileNotMadeError(f"{path}: {trt.__name__} {trt.__version__} cannot read it\n  {listed}")


def _refusal(error: Any) -> str:
    words = re.sub(r"\s+", " ", error.desc()).strip()
    operator, name = error.node_operator(), error.node_name()
    code = str(error.code()).rsplit(".", 1)[-1].split(":")[0]
    if not operator:
        return (
            f"{code}: {words}.\n  Is it a whole ONNX file? `compressor export RUN` writes it again."
        )
    reason = "" if words in ("false", "") else f" ({words})"
    return f"node {name!r}, operator {operator}: {code}{reason}.\n  {_way_out(operator, words)}"


def _way_out(operator: str, words: str) -> str:
    if operator in ("QuantizeLinear", "DequantizeLinear"):
        return (
            "TensorRT takes symmetric INT8 only: zero points of 0, no quantised bias "
            "(`QuantizeBias: False`). `export.precisions: [int8]` writes such a file."
        )
    if "lugin" in words:
        return (
            "TensorRT has no such operator and found no plugin of that name. Choose a student "
            "whose export has standard operators only, or run this file with ONNX Runtime."
        )
    return (
        "TensorRT does not support this operator here. Choose a student without it (the ones in "
        "docs/precision.md are known to build), or run this file with ONNX Runtime: leave "
        "`export.engines` empty."
    )
