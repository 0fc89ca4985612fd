"""The student as one ONNX file: dynamic batch, outputs `embedding` and, with labels, `logits`."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export import onnx_versions
from export.refusals import UNFORESEEN, refused_by
from runtime.errors import InputError, from_file_system
from runtime.files import replacing
from runtime.images.preprocess import Preprocess

logger = logging.getLogger(__name__)

OPSET = 18
"""Operator set that torch's exporter targets; what is written is the lowest that carries a file."""


class Deployed(nn.Module):
    """A student and, with labels, the probe on its unit-length embedding: one network."""

    def __init__(self, student: nn.Module, probe: nn.Module | None) -> None:
        super().__init__()
        self.student = student
        self.probe = probe

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map images [B, 3, S, S], normalised, to embedding [B, D] and logits [B, K] if probed."""
        embedding: Tensor = self.student(images)
        if self.probe is None:
            return embedding
        return embedding, self.probe(F.normalize(embedding, dim=1))


def linear(weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> nn.Linear:
    """Return a linear probe with weight [K, D] and bias [K]."""
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
        """Keep `bank` [M, D], `votes` [M, K], `bias` [K], `scale` [1]; shares are >= `least`."""
        super().__init__()
        self.temperature, self.least = temperature, least
        self.bank, self.votes, self.bias, self.scale = (
            nn.Parameter(torch.from_numpy(arrays[name]), requires_grad=False)
            for name in ("bank", "votes", "bias", "scale")
        )

    def forward(self, unit: Tensor) -> Tensor:
        """Map embeddings of unit length [B, D] to logits [B, K]."""
        shares = torch.softmax(unit @ self.bank.T / self.temperature, dim=1) @ self.votes
        return self.scale * torch.log(shares.clamp(min=self.least)) + self.bias


class Trained(Protocol):
    """A network with what its input must look like, such as our `Encoder` and `Distilled`."""

    @property
    def module(self) -> nn.Module:
        """Maps float32 [B, 3, S, S], normalised, to embeddings [B, D]."""

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes its input."""


@from_file_system()
def to_onnx(
    student: Trained | nn.Module,
    path: str | Path,
    *,
    size_px: int | None = None,
    probe: nn.Module | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Path:
    """Write a student as one self-contained ONNX file with a dynamic batch.

    The file takes `images` float32 [B, 3, S, S], normalised, and gives `embedding` [B, D] and, with
    a probe, `logits` [B, K]. The student itself is left as it is.

    Args:
        student: an encoder, a distilled student, or any module from images to embeddings.
        path: the file to write.
        size_px: side S of the input; None: the student's own. A plain module needs it.
        probe: maps embeddings of unit length [B, D] to logits [B, K].
        metadata: put into the file as JSON values; for an encoder its preprocessing is added.

    Returns:
        The path.

    Raises:
        InputError: a plain module without `size_px`, an operation that ONNX does not have, or a
            path that cannot be written to.
        MissingDependencyError: the disk is full.
    """
    properties = dict(metadata or {})
    if isinstance(student, nn.Module):
        module = student
    else:
        module, size_px = student.module, size_px or student.preprocess.size_px
        properties.setdefault("preprocess", student.preprocess.to_dict())
    if size_px is None:
        raise InputError("to_onnx: a plain module does not say its input size; give size_px")
    copied = copy.deepcopy(Deployed(module, probe)).cpu().float()
    export(copied, size_px, Path(path), properties)
    return Path(path)


def export(module: Deployed, size_px: int, path: Path, metadata: Mapping[str, object]) -> None:
    """Write a deployed student as one ONNX file and check it with `onnx.checker`.

    Args:
        module: on the CPU.
        size_px: side S of the input.
        path: the file to write.
        metadata: put into the file as JSON values.

    Raises:
        InputError: the model has an operation that ONNX does not have, or torch cannot follow it.
    """
    module = module.eval()
    try:
        program = _traced(module, size_px)
    except UNFORESEEN as error:
        # timm's fused attention is one operator, whose decomposition fails for relative positions
        with _switched_off("fused_attn", module) as changed:
            if not changed:
                raise _refusal(error, size_px) from error
            try:
                program = _traced(module, size_px)
            except UNFORESEEN as again:
                raise _refusal(again, size_px) from again
    model = program.model_proto
    _forget_sources(model)
    properties = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    onnx.helper.set_model_props(model, properties)
    onnx_versions.lower(model)
    with refused_by("onnx's checker"):
        onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def _traced(module: Deployed, size_px: int) -> torch.onnx.ONNXProgram:
    outputs = ["embedding"] if module.probe is None else ["embedding", "logits"]
    # A batch of 2: torch's exporter takes a batch of 1 for a constant.
    images = torch.zeros(2, 3, size_px, size_px)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    try:
        quiet.setLevel(logging.ERROR)
        # Torch rewrites each in-place operator by tracing it once more, to the same graph
        with warnings.catch_warnings(), _switched_off("inplace", module):
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
    finally:
        quiet.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return program


@contextmanager
def _switched_off(flag: str, module: nn.Module) -> Iterator[bool]:
    """Switch an attribute of all modules off inside; give whether any had it on."""
    switched = [each for each in module.modules() if getattr(each, flag, False) is True]
    try:
        for each in switched:
            setattr(each, flag, False)
        yield bool(switched)
    finally:
        for each in switched:
            setattr(each, flag, True)


def _refusal(error: Exception, size_px: int) -> InputError:
    """Return a message with the first cause alone: the exporter's own is a page for its authors."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    said = (str(cause).strip().splitlines() or [""])[0]
    return InputError(
        f"this student cannot be exported to ONNX at {size_px} px: {type(cause).__name__}: {said}\n"
        "  Another model of its family, another size or other student.args may do; see "
        "docs/results/families.md."
    )


def _forget_sources(model: onnx.ModelProto) -> None:
    """Remove the exporter's stack traces: they hold paths of this machine."""
    for graph in (model.graph, *model.functions):
        del graph.metadata_props[:]
        for part in (*graph.node, *graph.value_info):
            del part.metadata_props[:]
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]


def facts(path: Path) -> dict[str, object]:
    """Return opset, IR version, producer and the shapes of inputs and outputs of an ONNX file."""
    model = onnx.load(path, load_external_data=False)
    return {
        "opset": {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
    }


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
