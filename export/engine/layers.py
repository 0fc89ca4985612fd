"""What is inside a built engine: its layers and the types they compute in.

Where there is a GPU, TensorRT's engine inspector lists them. Without one an engine cannot be
opened, but the builder prints the same list as text while it builds; that text is read then.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

from runtime.errors import FileNotMadeError

TYPES = {
    "float": "float32", "fp32": "float32", "half": "float16", "fp16": "float16",
    "int8": "int8", "bfloat16": "bfloat16", "bf16": "bfloat16", "fp8": "float8",
    "int32": "int32", "int64": "int64", "bool": "bool", "uint8": "uint8",
}  # fmt: skip
"""TensorRT's type names, in both spellings of the inspector, and the usual names."""

_FUSED_SHARE = {"fp32": ("float32", 0.999), "fp16": ("float16", 0.9), "int8": ("int8", 0.5)}
"""Smallest share of the weights in the type that the file promises. FP16 keeps single operators
in float32, INT8 its sensitive layers and the probe; an engine that lost its type has none."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a layer."""

    type: str
    elements: int
    """Of a constant; of an activation without its batch."""


@dataclass(frozen=True)
class Layer:
    """One layer of a built engine."""

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def from_inspector(text: str) -> list[Layer]:
    """Read layers from the JSON of `EngineInspector.get_engine_information`."""
    described = json.loads(text)["Layers"]
    return [_from_json(each) for each in described if isinstance(each, dict)]


def from_builder(lines: Iterable[str]) -> list[Layer]:
    """Read layers from the builder's log at the end of a build with detailed verbosity."""
    return [layer for line in lines if (layer := _from_line(line)) is not None]


def weight_types(layers: Sequence[Layer]) -> dict[str, float]:
    """Return the share of the engine's constants by type, in elements."""
    counted = Counter[str]()
    for layer in layers:
        for constant in layer.constants:
            counted[constant.type] += constant.elements
    total = sum(counted.values())
    return {name: round(count / total, 4) for name, count in counted.most_common()}


@dataclass(frozen=True)
class WeightProof:
    """What the weights of an engine say of the precision that it computes in."""

    weights: dict[str, float]
    """Share of the listed weights by type."""
    lacks: str
    """Why that does not prove its precision; empty where it does."""


def prove(layers: Sequence[Layer], precision: Literal["fp32", "fp16", "int8"]) -> WeightProof:
    """Return the share of the weights by type, and whether it proves the engine's precision.

    TensorRT fuses what it can, such as the blocks of a ViT, into regions whose weights it does not
    list. An engine with such regions is refused by nothing that is listed beside them.

    Raises:
        FileNotMadeError: its weights are of another type: precision was lost, or Q/DQ not fused.
    """
    found = weight_types(layers)
    wanted, share = _FUSED_SHARE[precision]
    regions = sum(_is_fused(layer) and not layer.constants for layer in layers)
    lacks = f"TensorRT lists no weights of {regions} fused regions" if regions else ""
    if not found:
        return WeightProof({}, lacks or "TensorRT lists no weights")
    if found.get(wanted, 0.0) < share and not regions:
        inside = ", ".join(f"{name} {part:.0%}" for name, part in found.items())
        cause = (
            "Q/DQ was not fused into its layers" if precision == "int8" else "precision was lost"
        )
        raise FileNotMadeError(
            f"an engine named {precision} must hold at least {share:.0%} of its weights in "
            f"{wanted}; it has {inside}: {cause}.\n"
            "  Was the ONNX file made by `compressor export`? TensorRT takes types from the file."
        )
    return WeightProof(found, lacks)


def _is_fused(layer: Layer) -> bool:
    return "ForeignNode" in layer.name or layer.kind == "Myelin"


_LINE = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], TacticName:"
)
_TENSOR = re.compile(r"Dimensions: \[(?P<sides>[-\d,]*)\].*?Datatype: (?P<type>\w+)")


def _from_line(line: str) -> Layer | None:
    found = _LINE.match(line.strip())
    if found is None:
        return None

    def tensors(group: str) -> tuple[Tensor, ...]:
        return tuple(
            _tensor([int(side) for side in each["sides"].split(",") if side], each["type"])
            for each in _TENSOR.finditer(found[group])
        )

    parts = (tensors(group) for group in ("inputs", "constants", "outputs"))
    return Layer(found["name"], found["kind"], *parts)


def _from_json(layer: Mapping[str, Any]) -> Layer:
    def tensors(key: str) -> tuple[Tensor, ...]:
        listed = layer.get(key) or []
        return tuple(
            _tensor(each.get("Dimensions", []), _type_of(each))
            for each in listed
            if isinstance(each, dict)
        )

    constants = tensors("Constants")
    weights = layer.get("Weights")  # how TensorRT lists those of its own convolutions
    if not constants and isinstance(weights, dict):
        constants = (_tensor([weights.get("Count", 0)], str(weights.get("Type", "?"))),)
    name, kind = str(layer.get("Name", "")), str(layer.get("LayerType", ""))
    return Layer(name, kind, tensors("Inputs"), constants, tensors("Outputs"))


def _type_of(tensor: Mapping[str, Any]) -> str:
    """TensorRT 11 and RTX say `Datatype`; 10 says `Format/Datatype`: `Half NHWC ...`."""
    said = tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype") or "?"
    words = re.findall(r"[A-Za-z]+\d*", str(said))
    return next((word for word in words if word.lower() in TYPES), str(said))


def _tensor(sides: Sequence[int], type_name: str) -> Tensor:
    return Tensor(TYPES.get(type_name.lower(), type_name), prod(abs(side) for side in sides))
