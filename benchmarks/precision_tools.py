"""Our FP16 and INT8 files against those of NVIDIA ModelOpt, made from the same student.

    python benchmarks/precision_tools.py --train FOLDER --held-out FOLDER --out FOLDER \
        mobilenetv2_100,pad_type=same:weights.safetensors vit_tiny_patch16_224:weights.safetensors

A student is a timm model with its arguments and a file of weights that has a classifier. Every file
is compared with the FP32 file on held-out images: cosine of the embeddings, share of images with
the same answer. All files of a student are timed in turns on one core. Prints tables, writes
FOLDER/precision_tools.json. Without `pip install nvidia-modelopt[onnx]` it ends with a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from msgspec import to_builtins
from torch import nn

from export import graph, precision_proof
from export.precision import fp16, int8
from runtime.arrays import Floats
from runtime.backends.registry import open_session
from runtime.benchmark import latency, machine
from runtime.benchmark.latency import Request
from runtime.cli import guarded
from runtime.errors import InputError
from runtime.files import write_json
from runtime.images.decode import decode
from runtime.images.preprocess import Preprocess
from runtime.text import table

CALIBRATION, VALIDATION = 128, 64
"""Training images to calibrate on and to choose by."""


@dataclass(frozen=True)
class Student:
    """A trained network with its FP32 file and the images that everything is measured on."""

    name: str
    module: nn.Module
    source: Path
    calibration: Floats
    """[N, 3, S, S], normalised, as the others."""
    validation: Floats
    held_out: Floats


class Classifier(nn.Module):
    """A timm model with two outputs: embedding and logits."""

    probe = True  # export() names a second output

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map images [B, 3, S, S] to embedding [B, D] and logits [B, K]."""
        features = self.network.forward_features(images)
        embedding = self.network.forward_head(features, pre_logits=True)
        return embedding, self.network.get_classifier()(embedding)


@click.command()
@click.argument("students", nargs=-1, required=True)
@click.option("--train", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--held-out", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--images", default=300, show_default=True, help="held-out images")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(students: tuple[str, ...], train: Path, held_out: Path, images: int, out: Path) -> None:
    """Make the files, measure, print, write."""
    if find_spec("modelopt") is None:
        click.echo("ModelOpt is not installed: pip install 'nvidia-modelopt[onnx]'")
        return
    document: dict[str, Any] = {
        "machine": to_builtins(machine.describe()),
        "versions": {n: machine.version_of(n) for n in ("nvidia-modelopt", "onnxruntime", "onnx")},
        "students": {},
    }
    for text in students:
        student = load(text, train, held_out, images, out)
        seconds = make_files(student)
        rows = measure(student, seconds)
        document["students"][student.name] = rows
        show(student.name, rows)
        write_json(out / "precision_tools.json", document)


def load(text: str, train: Path, held_out: Path, images: int, out: Path) -> Student:
    """Load `MODEL[,key=value...]:WEIGHTS`, export it in FP32 and decode the images."""
    import timm
    from safetensors.torch import load_file

    from export.onnx_file import export

    model, weights = text.split(":", 1)
    name, *pairs = model.split(",")
    arguments = dict(pair.split("=", 1) for pair in pairs)
    network = timm.create_model(name, pretrained=False, **arguments)
    network.load_state_dict(load_file(weights))
    side = network.pretrained_cfg["input_size"][-1]
    half = (0.5, 0.5, 0.5)
    preprocess = Preprocess(side, round(side / 0.9), "center", "bicubic", half, half)
    module, source = Classifier(network).eval(), out / name / "fp32.onnx"
    export(module, side, source, {"model": name})  # type: ignore[arg-type]
    chosen = spread(train, CALIBRATION + VALIDATION, preprocess)
    order = np.random.default_rng(0).permutation(len(chosen))
    return Student(
        name=name,
        module=module,
        source=source,
        calibration=chosen[order[:CALIBRATION]],
        validation=chosen[order[CALIBRATION:]],
        held_out=spread(held_out, images, preprocess),
    )


def spread(folder: Path, count: int, preprocess: Preprocess) -> Floats:
    """Decode images spread evenly over a folder with one folder per class."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    pixels = [preprocess.pixels(decode(paths[row])) for row in rows]
    return preprocess.normalise(np.stack(pixels))


def make_files(student: Student) -> dict[str, float]:
    """Write every file beside the FP32 file; return the seconds that each took."""
    makers: dict[str, Callable[[Path], object]] = {
        "fp16-ours": lambda path: fp16.make(
            student.source, path, student.calibration, student.validation
        ),
        "fp16-modelopt": lambda path: modelopt_fp16(student, path),
        "int8-ours": lambda path: int8.make(
            student.source, path, {"random": student.calibration}, student.validation
        ),
        "int8-ours-no-layer-search": lambda path: our_plain_int8(student, path),
        "int8-modelopt-entropy": lambda path: modelopt_int8(student, path, "entropy"),
        "int8-modelopt-max": lambda path: modelopt_int8(student, path, "max"),
    }
    seconds = {"fp32": 0.0}
    for name, make in makers.items():
        click.echo(f"{student.name}: {name}", err=True)
        started = time.monotonic()
        make(student.source.with_name(f"{name}.onnx"))
        seconds[name] = round(time.monotonic() - started, 1)
    return seconds


def modelopt_fp16(student: Student, path: Path) -> None:
    """Convert with autocast as its documentation does, float32 at both ends."""
    from modelopt.onnx.autocast import convert_to_mixed_precision

    seen = path.with_suffix(".npz")
    np.savez(seen, images=student.calibration)
    model = convert_to_mixed_precision(
        str(student.source), keep_io_types=True, calibration_data=str(seen)
    )
    onnx.save(model, path)


def modelopt_int8(student: Student, path: Path, method: str) -> None:
    """Quantise with ModelOpt; weights stored as INT8, everything else float32."""
    from modelopt.onnx.quantization import quantize

    quantize(
        str(student.source),
        calibration_data={"images": student.calibration},
        calibration_method=method,
        calibration_eps=["cpu"],
        nodes_to_exclude=list(graph.head(onnx.load(student.source))),
        high_precision_dtype="fp32",
        dq_only=True,
        log_level="ERROR",
        output_path=str(path),
    )


def our_plain_int8(student: Student, path: Path) -> None:
    """Quantise with our best calibration, every layer in INT8."""
    quantiser = int8.Quantiser.of(student.source, student.validation)
    best, _ = int8.best_calibration(quantiser, {"random": student.calibration})
    graph.save(quantiser.quantised(best, quantiser.layers), path, {})


def measure(student: Student, seconds: dict[str, float]) -> list[dict[str, Any]]:
    """Compare every file with the FP32 file, prove its precision and time all files in turns."""
    expected, answers = outputs_of(student.source, student.held_out)
    rows, requests = [], []
    for name in seconds:
        path = student.source.with_name(f"{name}.onnx")
        embedding, logits = outputs_of(path, student.held_out)
        cosines = graph.cosines(embedding, expected)
        same = logits.argmax(axis=1) == answers.argmax(axis=1)
        rows.append(
            {
                "file": name,
                "made_s": seconds[name],
                "size_mb": path.stat().st_size / 1e6,
                "cosine_mean": float(cosines.mean()),
                "cosine_min": float(cosines.min()),
                "agreement": float(same.mean()),
                "agreement_se": float(same.std() / np.sqrt(len(same))),
                **proof(path, name),
            }
        )
        session = open_session(path, provider="cpu", threads=1)
        requests.append(Request(session, [student.held_out[:1]]))
    for row, timed in zip(rows, latency.measure_together(requests), strict=True):
        row |= {"median_ms": timed.median_ms, "median_ms_ci": timed.median_ms_ci}
    return rows


def outputs_of(path: Path, images: Floats) -> tuple[Floats, Floats]:
    """Return embeddings [N, D] and logits [N, K] of images, 16 at a time."""
    session = open_session(path, provider="cpu", threads=2)
    found = [session.run(images[start : start + 16]) for start in range(0, len(images), 16)]
    logits = [batch.logits for batch in found if batch.logits is not None]
    return np.concatenate([batch.embedding for batch in found]), np.concatenate(logits)


def proof(path: Path, name: str) -> dict[str, Any]:
    """Return what our proof of precision reads in a file, or why it refuses the file."""
    kind = {"fp32": "fp32", "fp16": "fp16"}.get(name.split("-")[0], "int8")
    integer = precision_proof.integer_kernels(path) if kind == "int8" else None
    try:
        weights = precision_proof.prove(path, kind).weights  # type: ignore[arg-type]
        return {"weights": weights, "integer_kernels": integer, "refused": None}
    except InputError as error:
        return {"integer_kernels": integer, "refused": str(error).splitlines()[0]}


def show(name: str, rows: list[dict[str, Any]]) -> None:
    """Print one table."""
    cells = [
        [
            row["file"],
            f"{row['cosine_mean']:.5f}",
            f"{row['cosine_min']:.5f}",
            f"{row['agreement']:.3f} ± {row['agreement_se']:.3f}",
            f"{row['size_mb']:.2f}",
            f"{row['median_ms']:.2f}",
            "" if row["integer_kernels"] is None else f"{row['integer_kernels']:.2f}",
            f"{row['made_s']:.0f}",
            "refused" if row["refused"] else "passed",
        ]
        for row in rows
    ]
    headings = ["file", "cosine", "worst", "same answer", "MB", "median ms", "integer", "made s"]
    click.echo(f"\n## {name}\n\n" + table([*headings, "our proof"], cells))


if __name__ == "__main__":
    guarded(main)
