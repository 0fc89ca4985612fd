"""TinTeM's heads against each other: how well each keeps the teacher's cosines.

    python benchmarks/heads.py RUN --width 64 --width 128 --width 192 --out FOLDER

RUN is a finished `compressor run`: heads are made from the teacher's features of its training
views, and measured on the teacher's embeddings of its held-out images. `joint` trains the head with
the batches, steps and learning rates that it would see beside a student (it never sees the student
itself, so that is the same head); `first` fits it to convergence. Means over the seeds with 95 %
intervals (Student's t). Writes FOLDER/heads.json.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from runtime.cli import guarded

_LR = 1e-3
_T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--width", "widths", multiple=True, type=int, default=(64, 128, 192))
@click.option("--seeds", default=3, show_default=True)
@click.option("--center/--no-center", default=True, show_default=True)
@click.option("--steps", default=840, show_default=True, help="of the joint training")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    run: Path, widths: tuple[int, ...], seeds: int, center: bool, steps: int, out: Path
) -> None:
    """Make each head at each width, measure it, print the table."""
    import torch
    from safetensors.numpy import load_file

    from compressor.distillation.methods.centring import Centring
    from compressor.distillation.teacher_features import CachedFeatures
    from compressor.pipeline.storage.run_files import RunFiles
    from runtime.text import table

    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))["images"]
    train = sum(each["split"] == "train" for each in dataset)
    features = RunFiles(run, writable=False).path("features")
    views = len({path.name.split("-")[0] for path in features.glob("view*")})
    sample = CachedFeatures(features, views, train).sample()
    centring = Centring(sample, enabled=center)
    pooled = centring.apply(sample).pooled
    held = np.array([each["split"] == "holdout" for each in dataset])
    embedded = torch.from_numpy(load_file(run / "embeddings.safetensors")["images"][held])
    unseen = embedded - centring.pooled

    rows, found = [], []
    for width in widths:
        for kind in (
            "identity",
            "pca",
            "pca-then-learned, first",
            "learned, first",
            "learned, joint",
        ):
            if kind == "identity" and width != pooled.shape[1]:
                continue
            results = [made(kind, pooled, unseen, width, seed, steps) for seed in range(seeds)]
            figures = {name: interval([each[name] for each in results]) for name in results[0]}
            found.append({"width": width, "head": kind, **figures})
            cells = [f"{figures[name][0]:.4f} (± {figures[name][1]:.4f})" for name in figures]
            rows.append([str(width), kind, *cells])
    names = ["cosine MAE", "cosine r", "defect", "SNE divergence", "seconds"]
    click.echo(table(["width", "head", *names], rows))
    out.mkdir(parents=True, exist_ok=True)
    document = {"run": run.name, "center": center, "views": views * train, "heads": found}
    (out / "heads.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def made(
    kind: str, pooled: Any, unseen: Any, width: int, seed: int, steps: int
) -> dict[str, float]:
    """One head, and how well it does on features it was not made from."""
    import torch

    from compressor.distillation.methods import tintem_head
    from compressor.distillation.methods.head_fidelity import head_fidelity
    from compressor.distillation.methods.losses import sne_divergence
    from compressor.models.features import Features

    torch.manual_seed(seed)
    started = time.monotonic()
    head: torch.nn.Module
    if kind == "identity":
        head = torch.nn.Identity()
    elif kind.startswith("pca"):
        head = tintem_head.pca_head(pooled, width, learns=kind != "pca")
    else:
        head = tintem_head.TeacherHead(pooled.shape[1], width)
    if kind.endswith("first"):
        tintem_head.fit(head, Features(pooled, None), seed=seed)
    elif kind.endswith("joint"):
        as_beside_a_student(head, pooled, seed, steps)
    seconds = time.monotonic() - started
    with torch.inference_mode():
        divergence = sne_divergence(unseen[:256], head(unseen[:256])).item()
    figures = asdict(head_fidelity(head, unseen))
    return {**figures, "sne_divergence": divergence, "seconds": seconds}


def as_beside_a_student(head: Any, pooled: Any, seed: int, steps: int) -> None:
    """The training loop's own batches and learning rates, without the student."""
    import torch

    from compressor.distillation.methods.losses import sne_divergence
    from compressor.distillation.schedule import lr_share, parameter_groups
    from compressor.recipe.schema import Distill

    spec = Distill()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(parameter_groups(head, spec.weight_decay), lr=_LR)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _LR * lr_share(step, steps, spec.warmup_epochs * (steps // 20))
        batch = pooled[torch.randperm(len(pooled), generator=generator)[:64]]
        loss = sne_divergence(batch, head(batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval over seeds."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), _T_95.get(len(values), 1.96) * spread / len(values) ** 0.5


if __name__ == "__main__":
    guarded(main)
