"""The student as one ONNX file: dynamic batch, outputs `embedding` and, with labels, `logits`."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.errors import InputError
from runtime.files import replacing

logger = logging.getLogger(__name__)

OPSET = 18
"""Of the exported file: what torch's exporter is made for, and every backend of ours reads."""


class Deployed(nn.Module):
    """A student, and the probe on its unit-length embedding if there is one."""

    def __init__(self, student: nn.Module, probe: nn.Module | None) -> None:
        super().__init__()
        self.student = student
        self.probe = probe

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """float32 [B, 3, S, S], normalised -> embedding [B, D], and logits [B, K] with a probe."""
        embedding: Tensor = self.student(images)
        if self.probe is None:
            return embedding
        return embedding, self.probe(F.normalize(embedding, dim=1))


def linear(weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> nn.Linear:
    """A linear probe of weight [K, D] and bias [K]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


class Voting(nn.Module):
    """scale * log(share of the vote) + bias, where images vote with exp(cosine / temperature)."""

    def __init__(
        self, arrays: Mapping[str, npt.NDArray[np.float32]], *, temperature: float, least: float
    ) -> None:
        """Take `bank` [M, D], `votes` [M, K], `bias` [K], `scale` [1]; shares are at `least`."""
        super().__init__()
        self.temperature, self.least = temperature, least
        self.bank, self.votes, self.bias, self.scale = (
            nn.Parameter(torch.from_numpy(arrays[name]), requires_grad=False)
            for name in ("bank", "votes", "bias", "scale")
        )

    def forward(self, unit: Tensor) -> Tensor:
        """Embeddings of unit length [B, D] -> logits [B, K]."""
        shares = torch.softmax(unit @ self.bank.T / self.temperature, dim=1) @ self.votes
        return self.scale * torch.log(shares.clamp(min=self.least)) + self.bias


def export(module: Deployed, size_px: int, path: Path, metadata: Mapping[str, object]) -> None:
    """Write one self-contained ONNX file and check it with `onnx.checker`.

    Args:
        module: on the CPU.
        size_px: side S of the input.
        path: the file to write.
        metadata: provenance, put into the file as JSON values.

    Raises:
        InputError: the model has an operation that ONNX does not.
    """
    module = module.eval()
    outputs = ["embedding"] if module.probe is None else ["embedding", "logits"]
    # A batch of 2: torch's exporter takes a batch of 1 for a constant.
    images = torch.zeros(2, 3, size_px, size_px)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    try:
        quiet.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            program = torch.onnx.export(
                module,
                (images,),
                input_names=["images"],
                output_names=outputs,
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, torch.onnx.errors.UnsupportedOperatorError) as error:
        raise InputError(f"this student cannot be exported to ONNX: {error}") from error
    finally:
        quiet.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    _forget_sources(model)
    properties = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def _forget_sources(model: onnx.ModelProto) -> None:
    """Drop the exporter's stack traces: paths of this machine, of no use on another."""
    for graph in (model.graph, *model.functions):
        for part in (*graph.node, *graph.value_info):
            del part.metadata_props[:]
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]


def facts(path: Path) -> dict[str, object]:
    """Opset, IR version and input and output shapes of an ONNX file."""
    model = onnx.load(path, load_external_data=False)
    return {
        "opset": {each.domain or "ai.onnx": each.version for each in model.opset_import},
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": {each.name: _shape(each) for each in model.graph.input},
        "outputs": {each.name: _shape(each) for each in model.graph.output},
    }


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
