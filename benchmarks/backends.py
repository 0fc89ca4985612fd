"""The runtimes side by side: each student in each precision, by latency, parity, agreement, size.

    python benchmarks/backends.py IMAGES --out FOLDER --model NAME[=WEIGHTS] [--model ...]

IMAGES has a folder of images for each class. A student is a model of timm with its weights (without
them random ones, which say something of latency and parity alone) and a probe of class means. Half
of the images calibrate and fit the probe, the others are answered. Parity and agreement are with
the student in torch: what a runtime and a precision cost, not what a student keeps of a teacher.
INT8 has all layers quantised, by the best of three calibrations. All files are timed in turns, with
one thread and with two (`--threads`). Prints tables, writes FOLDER/backends.json after each
student, continues where it stopped.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from shared.runtimes import RUNTIMES, Source, onnx_file  # type: ignore[import-not-found]

from compressor.models.encoder import create_student
from compressor.probes import nearest_centroid
from compressor.probes.training_set import TrainingSet
from compressor.recipe.schema import Student
from export.onnx_file import Deployed, linear
from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Outputs, Session
from runtime.benchmark import latency, machine, machine_load
from runtime.benchmark.latency import Request, TimingPlan
from runtime.cli import guarded
from runtime.errors import ToolError
from runtime.evaluation import parity
from runtime.files import write_json
from runtime.images.decode import decode
from runtime.results.scores import to_json
from runtime.text import table

PRECISIONS = ("fp32", "fp16", "int8")
SCALE = 10.0
"""Of the probe's logits."""


@dataclass
class Row:
    """A student in a runtime and a precision."""

    runtime: str
    precision: str
    why_not: str = ""
    """Why there is no more."""
    size_mb: float = 0
    cosine_min: float = 0
    probability_difference: float = 0
    agreement: tuple[float, float, float] = (0, 0, 0)
    """Share of images with torch's answer, and its 95 % interval."""
    runs_in: dict[str, float] | None = None
    """Share of the layers by number type, where the runtime tells it."""
    latency: tuple[dict[str, Any], ...] = ()
    """For each number of threads."""


# --- measuring -------------------------------------------------------------------------------


def source_of(model: str, weights: str, images: Sequence[Path], size_px: int, to: Path) -> Source:
    """Build a student and its probe, and let torch answer."""
    spec = Student(model=model, weights=weights or "none", image_size=size_px)
    student = create_student(spec, seed=0)
    pixels = np.stack([student.preprocess.pixels(decode(path)) for path in images])
    inputs = student.preprocess.normalise(pixels)
    classes = sorted({path.parent for path in images})
    labels = np.array([classes.index(path.parent) for path in images])
    fitted, asked = inputs[::2], inputs[1::2]
    module = student.module.eval()
    unit = metrics.normalise(_in_torch(module, fitted)[0])
    probe = nearest_centroid.fit(TrainingSet(unit, unit, labels[::2], len(classes)), SCALE)
    network = Deployed(module, linear(probe.weight, probe.bias)).eval()
    return Source(to, network, size_px, fitted, asked, Outputs(*_in_torch(network, asked)))


def _in_torch(module: torch.nn.Module, images: Floats) -> list[Floats]:
    with torch.inference_mode():
        found = [module(torch.from_numpy(images[n : n + 16])) for n in range(0, len(images), 16)]
    parts = [each if isinstance(each, tuple) else (each,) for each in found]
    return [torch.cat(each).numpy() for each in zip(*parts, strict=True)]


def measure(source: Source, threads: Sequence[int], plan: TimingPlan) -> list[Row]:
    """Answer every image in every runtime and precision, then time all of them in turns."""
    rows, requests = list[Row](), list[Request]()
    for row, sessions in _opened(source, threads):
        rows.append(row)
        if sessions:
            proof = getattr(sessions[0], "proof", None)
            row.runs_in = None if proof is None else proof.types
            _compare(
                row, Outputs.joined([sessions[0].run(each[None]) for each in source.asked]), source
            )
            requests += [Request(each, [*source.asked[:8, None]]) for each in sessions]
    timed = [to_json(each) for each in latency.measure_together(requests, plan)]
    for row in rows:
        if not row.why_not:
            found, timed = timed[: len(threads)], timed[len(threads) :]
            row.latency = tuple(
                {k: v for k, v in each.items() if k != "times_ms"} for each in found
            )
    return rows


def _opened(source: Source, threads: Sequence[int]) -> Iterator[tuple[Row, list[Session]]]:
    """Make and open every file; a session for each number of threads, none with why not."""
    onnx_file(source, "fp32")
    for runtime in RUNTIMES:
        for precision in PRECISIONS:
            row = Row(runtime.name, precision)
            try:
                path = runtime.make(source, precision)
                parts = [each for each in (path, path.with_suffix(".bin")) if each.is_file()]
                row.size_mb = sum(each.stat().st_size for each in parts) / 1e6
                yield row, [runtime.open(path, precision, each) for each in threads]
            except ToolError as error:
                row.why_not = str(error).splitlines()[0]
                yield row, []


def _compare(row: Row, got: Outputs, source: Source) -> None:
    found, expected = parity.compare(got, source.expected), source.expected
    row.cosine_min = found.cosine_min
    row.probability_difference = found.probability_difference or 0
    if got.logits is not None and expected.logits is not None:
        same = metrics.mean_estimate(got.logits.argmax(axis=1) == expected.logits.argmax(axis=1))
        row.agreement = same.value, same.low, same.high


# --- telling ---------------------------------------------------------------------------------


def markdown(name: str, found: dict[str, Any]) -> str:
    """Return the table of a student."""
    rows = []
    for row in found["rows"]:
        cells = [row["runtime"], row["precision"]]
        if row["why_not"]:
            rows.append([*cells, f"not run: {row['why_not']}", *[""] * (4 + len(found["threads"]))])
            continue
        cells.append(
            ", ".join(f"{kind} {part:.0%}" for kind, part in (row["runs_in"] or {}).items())
        )
        cells.append(f"{row['size_mb']:.1f}")
        cells += [f"{each['median_ms']:.1f} ({each['p95_ms']:.1f})" for each in row["latency"]]
        share, low, high = row["agreement"]
        cells += [f"{row['cosine_min']:.6f}", f"{share:.3f} ({low:.3f} to {high:.3f})"]
        rows.append([*cells, f"{row['probability_difference']:.1e}"])
    headings = ["runtime", "precision", "runs in", "MB"]
    headings += [f"{n} thread{'s' if n > 1 else ''}, ms: median (p95)" for n in found["threads"]]
    headings += ["lowest cosine", "same answers (95 %)", "probabilities apart at most"]
    title = f"{name}, {found['weights']}, {found['size_px']} px"
    asked = (
        f"{found['answered']} images answered; other processes used {found['others_cores']} cores."
    )
    return f"\n## {title}\n\n{table(headings, rows)}\n\n{asked}"


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--model", "models", multiple=True, required=True, help="NAME or NAME=WEIGHTS.")
@click.option("--size", "size_px", default=224, show_default=True)
@click.option("--images", "most", default=200, show_default=True, help="Used of the folder.")
@click.option("--threads", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Timing of each file.")
def main(
    images: Path,
    out: Path,
    models: tuple[str, ...],
    size_px: int,
    most: int,
    seconds: float,
    threads: tuple[int, ...],
) -> None:
    """Measure, print, write."""
    from runtime.sampling import evenly

    warnings.simplefilter("ignore")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "backends.json"
    document = json.loads(path.read_text()) if path.is_file() else {"students": {}}
    document["machine"] = to_json(machine.describe())
    found = sorted(each for each in images.glob("*/*") if each.is_file())
    chosen = [found[n] for n in evenly(len(found), most)]
    for given in models:
        name, _, weights = given.partition("=")
        if name not in document["students"]:
            with tempfile.TemporaryDirectory() as folder:
                source = source_of(name, weights, chosen, size_px, Path(folder))
                before = machine_load.now()
                rows = measure(source, threads, TimingPlan(max_s=seconds, longest_s=6 * seconds))
                load = machine_load.between(before, machine_load.now())
            document["students"][name] = {
                "weights": "pretrained weights" if weights else "random weights",
                "size_px": size_px,
                "threads": threads,
                "answered": len(source.asked),
                "others_cores": load.others_cores,
                "rows": [asdict(row) for row in rows],
            }
            write_json(path, document)
        click.echo(markdown(name, document["students"][name]))
    click.echo(f"\n{path}")


if __name__ == "__main__":
    guarded(main)
