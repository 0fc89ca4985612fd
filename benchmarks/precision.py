"""What INT8 costs and gains: choice of calibration images, method, layers left in float.

    python benchmarks/precision.py RUN [RUN ...] --out FOLDER [--seeds 3] [--images 128]

RUN is the folder of a finished run. For every seed, training images are chosen (medoids of the
student's embeddings) and drawn at random, and each choice is calibrated by every method; then the
most sensitive layers of the best one go back to float, step by step. Everything is chosen by
validation images; agreement with the teacher is told of the held-out ones, with its 95 % interval.
All files of a student are timed in turns on one core. Prints tables, writes FOLDER/precision.json.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from msgspec import to_builtins

from runtime.cli import guarded

Floats = npt.NDArray[np.float32]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--seeds", default=3, show_default=True)
@click.option("--images", default=128, show_default=True, help="to calibrate on")
@click.option("--batch", default=1, show_default=True, help="images of a timed request")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(runs: tuple[Path, ...], seeds: int, images: int, batch: int, out: Path) -> None:
    """Measure, print, write."""
    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {"images": images, "cores": os.cpu_count(), "runs": {}}
    for folder in runs:
        student = Student.of(folder)
        calibrations, best = calibrate_all(student, seeds, images)
        files = files_of(student, best, batch)
        document["runs"][folder.name] = {"calibrations": calibrations, "files": files}
        show(folder.name, calibrations, files)
        (out / "precision.json").write_text(json.dumps(document, indent=2) + "\n")
    click.echo(f"\n{out / 'precision.json'}")


@dataclass(frozen=True)
class Student:
    """A finished run, its images decoded."""

    source: Path
    train: list[Path]
    embedded: Floats
    """[N, D] of the training images."""
    preprocess: Any
    quantiser: Any
    held_out: Floats
    teacher: npt.NDArray[np.int64]
    """[H] the teacher's answers."""

    @classmethod
    def of(cls, folder: Path) -> Student:
        """Read what a run left."""
        from compressor.pipeline.context import Run
        from compressor.pipeline.shared.calibration_images import MOST_VALIDATION, normalised
        from compressor.recipe import plan as plans
        from export.precision.int8 import Quantiser
        from runtime import documents
        from runtime.bundle import golden
        from runtime.bundle.schema import EncoderCard
        from runtime.sampling import evenly

        run = Run(plans.load_again(folder), folder)
        found, held = run.images(), golden.load(folder / "holdout")
        student = documents.read(folder / "student.json", EncoderCard, what="student")
        preprocess = student.preprocess
        rows = found.rows("train")
        validation = found.part("validation").paths
        chosen = evenly(len(validation), MOST_VALIDATION)
        source = folder / "student.fp32.onnx"
        return cls(
            source=source,
            train=[found.paths[row] for row in rows],
            embedded=run.tensors("probes.safetensors")["student"][rows],
            preprocess=preprocess,
            quantiser=Quantiser.of(source, normalised([validation[n] for n in chosen], preprocess)),
            held_out=normalised([held.root / name for name in held.images], preprocess),
            teacher=held.arrays.teacher_logits.argmax(axis=1),
        )

    def agreement(self, model: Any) -> dict[str, float]:
        """Share of held-out images answered as the teacher does, with its interval."""
        from export import graph

        session = graph.session_of(model)
        logits = [
            session.run(["logits"], {"images": self.held_out[n : n + 32]})[0]
            for n in range(0, len(self.held_out), 32)
        ]
        same = np.concatenate(logits).argmax(axis=1) == self.teacher
        # Wilson's interval.
        n, p, z = len(same), float(same.mean()), 1.96
        middle, reach = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low, high = (float((middle + s * reach) / (1 + z * z / n)) for s in (-1, 1))
        return {"agreement": p, "agreement_low": low, "agreement_high": high}


def calibrate_all(student: Student, seeds: int, images: int) -> tuple[list[dict[str, Any]], Any]:
    """Every choice of images by every method; also the calibration with the least error."""
    from compressor.pipeline.shared.calibration_images import drawn, normalised, selected
    from export.precision.calibration import METHODS, calibrate

    rows, best = list[dict[str, Any]](), None
    for seed in range(seeds):
        choices = {
            "selected": selected(student.embedded, images, seed),
            "random": drawn(len(student.train), images, seed),
        }
        for name, chosen in choices.items():
            given = normalised([student.train[n] for n in chosen], student.preprocess)
            for method in METHODS:
                found = calibrate(student.quantiser.model, given, name=name, method=method)
                model = student.quantiser.quantised(found, student.quantiser.layers)
                error = student.quantiser.error(model)
                row = {"seed": seed, "images": name, "method": method, "error": error}
                rows.append(row | student.agreement(model))
                if best is None or error < best[0]:
                    best = error, found
    assert best is not None
    return rows, best[1]


def files_of(student: Student, calibration: Any, batch: int) -> list[dict[str, Any]]:
    """FP32, FP16, and INT8 with more and more layers in float: agreement and latency in turns."""
    import onnx

    from export.precision import fp16
    from export.precision.int8 import choose_float_layers, sensitivities
    from runtime.backends.registry import open_session
    from runtime.benchmark import latency
    from runtime.benchmark.latency import Request

    quantiser = student.quantiser
    found = sensitivities(quantiser, calibration)
    kept, steps = choose_float_layers(quantiser, calibration, found)
    typical = 1 / len(found)
    order = [
        each.layer
        for each in sorted(found, key=lambda e: e.error / (e.work + typical), reverse=True)
    ]
    validation = quantiser.validation
    with TemporaryDirectory() as folder:
        fp16_path = Path(folder) / "fp16.onnx"
        fp16.make(student.source, fp16_path, validation, validation)
        models = {"fp32": onnx.load(student.source), "fp16": onnx.load(fp16_path)}
        facts: dict[str, dict[str, Any]] = {"fp32": {}, "fp16": {}}
        for step in steps:
            name = f"int8, {step.layers} layers float"
            models[name] = quantiser.quantised(calibration, order[step.layers :])
            facts[name] = asdict(step) | {"recommended": step.layers == len(kept)}
        requests, given = [], student.held_out[:batch]
        for n, model in enumerate(models.values()):
            path = Path(folder) / f"{n}.onnx"
            onnx.save(model, path)
            facts[list(models)[n]]["size_mb"] = path.stat().st_size / 1e6
            requests.append(Request(open_session(path, provider="cpu", threads=1), [given]))
        timed = latency.measure_together(requests)
    return [
        {"file": name, **facts[name], **student.agreement(model), **to_builtins(each)}
        for (name, model), each in zip(models.items(), timed, strict=True)
    ]


def show(name: str, calibrations: list[dict[str, Any]], files: list[dict[str, Any]]) -> None:
    """Two tables."""
    click.echo(
        f"\n## {name}\n\n| images | method | error (1 - cosine) by seed | agreement by seed |"
    )
    click.echo("|---|---|---|---|")
    for images, method in dict.fromkeys((row["images"], row["method"]) for row in calibrations):
        rows = [r for r in calibrations if (r["images"], r["method"]) == (images, method)]
        errors = " ".join(f"{r['error']:.2e}" for r in rows)
        agreements = " ".join(f"{r['agreement']:.3f}" for r in rows)
        click.echo(f"| {images} | {method} | {errors} | {agreements} |")
    click.echo("\n| file | MB | agreement (95 %) | median ms (95 %) | p95 ms |")
    click.echo("|---|---|---|---|---|")
    for f in files:
        low, high = f["median_ms_ci"]
        mark = " (chosen)" if f.get("recommended") else ""
        click.echo(
            f"| {f['file']}{mark} | {f['size_mb']:.2f} | {f['agreement']:.3f} "
            f"({f['agreement_low']:.3f} to {f['agreement_high']:.3f}) | "
            f"{f['median_ms']:.2f} ({low:.2f} to {high:.2f}) | {f['p95_ms']:.2f} |"
        )


if __name__ == "__main__":
    guarded(main)
