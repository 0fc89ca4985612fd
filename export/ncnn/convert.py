"""A student as a network of ncnn: traced by torch, converted by pnnx, compared with the student.

pnnx names inputs and outputs `in0`, `out0`, `out1`. What it cannot convert it leaves in the file
under torch's name, and it ends with success all the same. So everything is read back: names, kinds
of layers, number types, answers.
"""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch

from export import reference
from export.ncnn.attention import separate
from export.onnx_file import Deployed
from export.reference import Reference
from export.refusals import UNFORESEEN
from runtime.backends.base import SessionOptions
from runtime.backends.ncnn import network as networks
from runtime.backends.ncnn.network import EMBEDDING, INPUT, LOGITS, Layer, Network
from runtime.backends.ncnn.session import NcnnSession, import_ncnn
from runtime.backends.ncnn.weights import weights_of
from runtime.documents import Precision
from runtime.errors import FileNotMadeError, MissingDependencyError, ToolError
from runtime.files import replacing, write_text

INSTALL = "pip install 'edge-compressor[ncnn-export]'"
_LIMIT_S = 600.0


@dataclass(frozen=True)
class Traced:
    """A student as TorchScript, with its answers to a few images."""

    path: Path
    reference: Reference


def require_tools() -> None:
    """Find what a conversion needs.

    Raises:
        MissingDependencyError: pnnx or ncnn is not installed.
    """
    _program()
    import_ncnn()


def trace(module: Deployed, size_px: int, path: Path) -> Traced:
    """Write a student as TorchScript.

    Args:
        module: on the CPU; it is left as it is.
        size_px: side S of the input.
        path: the file to write.

    Raises:
        FileNotMadeError: torch cannot trace it.
    """
    answered = reference.of(module, size_px)
    changed = copy.deepcopy(module).eval().float()
    image = torch.from_numpy(answered.images[:1])
    try:
        separate(changed)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch advises against its own tracer
            traced: Any = torch.jit.trace(changed, image, check_trace=False)  # type: ignore[no-untyped-call]
            traced.save(str(path))
    except UNFORESEEN as error:
        raise FileNotMadeError(f"torch cannot trace it: {reference.said(error)}") from error
    return Traced(path, answered)


def make(source: Traced, path: Path, precision: Literal["fp32", "fp16"]) -> None:
    """Write a student as a `.param` and, beside it, its weights as a `.bin`.

    Args:
        source: the student.
        path: the `.param` to write. Its input is called `images`, its outputs `embedding` and, with
            a probe, `logits`.
        precision: of the weights.

    Raises:
        FileNotMadeError: pnnx cannot convert it, leaves an operator that ncnn does not have, or the
            network has other outputs, number types or answers than the student.
        MissingDependencyError: pnnx or ncnn is not installed.
    """
    library = import_ncnn()
    weights = weights_of(path)
    with tempfile.TemporaryDirectory() as folder:
        param, content = _converted(source, Path(folder), precision)
        found = _read(param)
        _require_known(found, library)
        wanted = [EMBEDDING] if source.reference.answers.logits is None else [EMBEDDING, LOGITS]
        network = _named(found, wanted, source.reference.images.shape[1:])
        with replacing(weights) as temporary:
            temporary.write_bytes(content.read_bytes())
    write_text(path, network.text())
    require_delivered(path, precision, source)


def require_delivered(path: Path, precision: Precision, source: Traced) -> None:
    """Read a network back: the types of its weights, and its answers.

    Raises:
        FileNotMadeError: ncnn does not run it, or something is not as it was ordered.
    """
    try:
        session = NcnnSession(path, SessionOptions(threads=1))
        answers = session.run(source.reference.images)
    except ToolError as error:
        raise FileNotMadeError(f"ncnn does not run what was made: {error}") from error
    if session.precision != precision:
        raise FileNotMadeError(f"weights in {session.precision} were made, not in {precision}")
    reference.require_same(answers, source.reference.answers, precision, "ncnn")


def _program() -> Path:
    """Return pnnx's program. Its Python module is not imported: it only calls the program."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(f"pnnx, which converts for ncnn, is not installed: {INSTALL}")
    return Path(spec.origin).with_name("pnnx")


def _converted(source: Traced, folder: Path, precision: str) -> tuple[Path, Path]:
    """Run pnnx; return the `.param` and `.bin` that it has written."""
    param, content = folder / "student.param", folder / "student.bin"
    shape = ",".join(map(str, (1, *source.reference.images.shape[1:])))
    words = [
        f"inputshape=[{shape}]f32",
        f"fp16={int(precision == 'fp16')}",
        f"ncnnparam={param}",
        f"ncnnbin={content}",
        f"ncnnpy={folder / 'ncnn.py'}",
        *(f"pnnx{kind}={folder / f'pnnx.{kind}'}" for kind in ("param", "bin", "py", "onnx")),
    ]
    try:
        done = subprocess.run(
            [str(_program()), str(source.path.resolve()), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise FileNotMadeError(f"pnnx was not done in {_LIMIT_S:.0f} s") from error
    if done.returncode or not (param.is_file() and content.is_file()):
        said = (done.stderr + done.stdout).strip().splitlines() or ["nothing"]
        raise FileNotMadeError(f"pnnx ended with code {done.returncode} and said: {said[-1]}")
    return param, content


def _read(param: Path) -> Network:
    try:
        return networks.read(param)
    except ToolError as error:
        raise FileNotMadeError(f"pnnx made no network of ncnn: {error}") from error


def _require_known(network: Network, library: ModuleType) -> None:
    """Name the operators that pnnx has left as torch has them."""
    unknown = Counter(
        layer.kind for layer in network.layers if library.layer_to_index(layer.kind) < 0
    )
    if unknown:
        listed = ", ".join(f"{kind} ({count})" for kind, count in unknown.items())
        raise FileNotMadeError(f"ncnn does not have these operators of it: {listed}")


def _named(network: Network, wanted: list[str], shape: tuple[int, ...]) -> Network:
    """Give inputs and outputs their names, and the input its size.

    Raises:
        FileNotMadeError: there are others than these.
    """
    theirs = {"in0": INPUT, **{f"out{number}": name for number, name in enumerate(wanted)}}
    starts = [name for layer in network.starts for name in layer.outputs]
    if sorted([*starts, *network.ends]) != sorted(theirs):
        raise FileNotMadeError(
            f"pnnx made a network with the inputs {starts} and the outputs {list(network.ends)}; "
            f"the student takes {INPUT} and gives {' and '.join(wanted)}"
        )
    channels, height, width = shape
    size = {"0": str(width), "1": str(height), "2": str(channels)}
    return Network(tuple(_renamed(layer, theirs, size) for layer in network.layers))


def _renamed(layer: Layer, names: Mapping[str, str], size: Mapping[str, str]) -> Layer:
    return replace(
        layer,
        name=names.get(layer.name, layer.name),
        inputs=tuple(names.get(name, name) for name in layer.inputs),
        outputs=tuple(names.get(name, name) for name in layer.outputs),
        settings=size if layer.kind == "Input" else layer.settings,
    )
