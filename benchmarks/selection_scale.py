"""Seconds and peak memory of choosing images to label, from a thousand to a million.

    python benchmarks/selection_scale.py --points 1000 --points 5000 --points 20000 --out FOLDER

Synthetic embeddings (float32, 192 wide, 40 clusters of unequal width); 50 are chosen. Beside ours:
scikit-learn's TSNE and k-medoids on the matrix of all distances of its map, up to --reference
points. Every cell is a process of its own; its memory is the highest the kernel saw of it (Linux),
with the packages (`import` column: before there was any point). Prints a table, writes
FOLDER/scale.json; a cell that is there is not run again.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from msgspec import to_builtins
from shared.processes import finished  # type: ignore[import-not-found]

from runtime.arrays import Floats
from runtime.benchmark.machine import describe
from runtime.cli import guarded

WIDTH, CLUSTERS, BUDGET = 192, 40, 50
Cell = dict[str, float]


@click.command()
@click.option("--points", "sizes", multiple=True, type=int, default=(1000, 5000, 20_000))
@click.option("--strategy", default="cold-paws-cosine", show_default=True)
@click.option("--reference", default=20_000, show_default=True, help="most points for scikit-learn")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--one", hidden=True, nargs=2, help="run one cell: method, points")
def main(
    sizes: tuple[int, ...], strategy: str, reference: int, out: Path, one: tuple[str, str] | None
) -> None:
    """Run what is missing, print the table, write the JSON."""
    if one is not None:
        click.echo(json.dumps(measured(one[0], int(one[1]))))
        return
    out.mkdir(parents=True, exist_ok=True)
    path = out / "scale.json"
    known = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else {}
    for size in sizes:
        for method in (strategy, "scikit-learn"):
            name = f"{method} {size}"
            if name in known or (method == "scikit-learn" and size > reference):
                continue
            click.echo(name, err=True)
            command = [sys.executable, __file__, "--out", str(out), "--one", method, str(size)]
            known[name] = json.loads(finished(command))
            document = {"budget": BUDGET, "machine": to_builtins(describe()), "cells": known}
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(printed(known))


def measured(method: str, points: int) -> Cell:
    """One cell, in this process."""
    warm_up = chosen_by_sklearn if method == "scikit-learn" else by_ours(method)
    warm_up(embeddings_of(2 * BUDGET))  # imports
    imported = peak_mb()
    embeddings = embeddings_of(points)
    started = time.monotonic()
    cell = warm_up(embeddings)
    return {**cell, "seconds": time.monotonic() - started, "import_mb": imported, "mb": peak_mb()}


def by_ours(strategy: str) -> Callable[[Floats], Cell]:
    """`choose` with a strategy."""
    from compressor.selection.choose import Request, choose
    from compressor.selection.tsne_map import tsne_map

    def chosen(embeddings: Floats) -> Cell:
        started = time.monotonic()
        on_map = tsne_map(embeddings, 0)
        mapped = time.monotonic()
        choose(embeddings, Request(strategy, BUDGET), on_map=on_map)
        return {"map_s": mapped - started, "choice_s": time.monotonic() - mapped}

    return chosen


def chosen_by_sklearn(embeddings: Floats) -> Cell:
    """t-SNE and k-medoids in the obvious way: all distances at once."""
    import kmedoids
    from sklearn.manifold import TSNE
    from sklearn.metrics import pairwise_distances

    perplexity = min(40, len(embeddings) / 4)
    model = TSNE(metric="cosine", perplexity=perplexity, random_state=0, n_jobs=-1)
    started = time.monotonic()
    on_map = model.fit_transform(embeddings)
    mapped = time.monotonic()
    kmedoids.fasterpam(pairwise_distances(on_map).astype(np.float32), BUDGET, random_state=0)
    return {"map_s": mapped - started, "choice_s": time.monotonic() - mapped}


def embeddings_of(points: int) -> Floats:
    """Clusters of directions, some wider than others: float32 [points, WIDTH]."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, WIDTH), np.float32)
    found = rng.standard_normal((points, WIDTH), np.float32)
    found *= rng.uniform(0.5, 1.5, (points, 1)).astype(np.float32)
    which = rng.integers(0, CLUSTERS, points)
    for cluster, centre in enumerate(centres):
        found[which == cluster] += centre
    return found


def peak_mb() -> float:
    """The most memory this process has held, 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def printed(cells: dict[str, Cell]) -> str:
    """A row a cell."""
    from runtime.text import table

    names = ("map_s", "choice_s", "seconds", "import_mb", "mb")
    rows = [
        [*name.rsplit(" ", 1), *(f"{cell[column]:.1f}" for column in names)]
        for name, cell in cells.items()
    ]
    return table(["method", "points", "map s", "choice s", "all s", "import MB", "peak MB"], rows)


if __name__ == "__main__":
    guarded(main)
