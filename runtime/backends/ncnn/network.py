"""A network of ncnn as its `.param` holds it: layers, one a line. The weights lie in a `.bin`.

It is read before ncnn's own C++ sees it, which finds a damaged file without a crash.

The format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from runtime.errors import InputError

SUFFIX = ".param"
INPUT = "images"
EMBEDDING, LOGITS = "embedding", "logits"
WORKING = frozenset(
    {
        "Convolution",
        "ConvolutionDepthWise",
        "Deconvolution",
        "DeconvolutionDepthWise",
        "Gemm",
        "InnerProduct",
        "MatMul",
        "MultiHeadAttention",
        "SDPA",
    }
)
"""Kinds of layers that do the work, in ncnn's words."""

_MAGIC = "7767517"
_MOST_BYTES = 16_000_000
"""Of a `.param`; one of a thousand layers takes a hundredth of it."""


@dataclass(frozen=True)
class Layer:
    """One line of a `.param`."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    """By number, as the file has it: that of an array is -23300 minus its own."""

    def number(self, key: int, default: int = 0) -> int:
        """Return a setting that is a whole number."""
        return int(self.settings.get(str(key), default))

    def line(self) -> str:
        """Return the line of the file."""
        settings = (f"{key}={value}" for key, value in self.settings.items())
        parts = (
            self.kind,
            self.name,
            len(self.inputs),
            len(self.outputs),
            *self.inputs,
            *self.outputs,
            *settings,
        )
        return " ".join(map(str, parts))


@dataclass(frozen=True)
class Network:
    """The layers of a `.param`, in the order in which they are run."""

    layers: tuple[Layer, ...]

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """The blobs that no layer takes: the answers."""
        taken = {name for layer in self.layers for name in layer.inputs}
        return tuple(name for layer in self.layers for name in layer.outputs if name not in taken)

    @property
    def starts(self) -> tuple[Layer, ...]:
        """The layers that take something from outside."""
        return tuple(layer for layer in self.layers if layer.kind == "Input")

    def text(self) -> str:
        """Return the content of the file."""
        blobs = sum(len(layer.outputs) for layer in self.layers)
        lines = [_MAGIC, f"{len(self.layers)} {blobs}", *(each.line() for each in self.layers)]
        return "\n".join(lines) + "\n"


def read(path: Path) -> Network:
    """Read a `.param`.

    Raises:
        InputError: there is no such file, or it is no `.param` of a whole network.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        return parse(path.read_text(encoding="ascii"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except ValueError as error:
        raise InputError(
            f"{path}: not a whole network of ncnn ({error}). Copy the bundle again."
        ) from error


def parse(text: str) -> Network:
    """Return the network of a `.param`'s content.

    Raises:
        ValueError: it is none, or is not whole.
    """
    magic, *lines = text.split("\n")
    if magic.strip() != _MAGIC or not lines:
        raise ValueError(f"it does not begin with {_MAGIC}")
    counts = [int(number) for number in lines[0].split()]
    layers = tuple(_layer(line) for line in lines[1:] if line.strip())
    blobs = [name for layer in layers for name in layer.outputs]
    if counts != [len(layers), len(blobs)]:
        raise ValueError(f"{len(layers)} layers with {len(blobs)} outputs; it tells of {counts}")
    known = set[str]()
    for layer in layers:
        if unknown := [name for name in layer.inputs if name not in known]:
            raise ValueError(f"layer {layer.name} takes {unknown[0]}, which no layer before gives")
        known.update(layer.outputs)
    if len(known) < len(blobs):
        raise ValueError("two layers give an output of the same name")
    return Network(layers)


def _layer(line: str) -> Layer:
    words = line.split()
    if len(words) < 4:
        raise ValueError(f"the line {line!r} is not whole")
    kind, name, *rest = words
    takes, gives = int(rest[0]), int(rest[1])
    names, settings = rest[2 : 2 + takes + gives], rest[2 + takes + gives :]
    if min(takes, gives) < 0 or len(names) < takes + gives:
        raise ValueError(f"layer {name} is not whole")
    found = dict(setting.split("=", maxsplit=1) for setting in settings)
    return Layer(kind, name, tuple(names[:takes]), tuple(names[takes:]), found)
