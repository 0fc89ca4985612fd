"""Every strategy of choosing images to label against random, at equal budgets.

    python benchmarks/selection.py RECIPE... --seeds 10 --out FOLDER

Each recipe names a data set (with labels) and a teacher. The images that are not held out are
embedded once and chosen from as if no label were known; then a probe learns from the labels of the
chosen ones only, and answers for the held-out images: the label of the nearest one, and the linear
probe of a run (logistic regression on unit-length, standardised embeddings; C = 1).

`strategy@map` and `strategy@embedding` say where distances are taken. Prints a table a recipe and
probe, and writes FOLDER/selection.json. Means over seeds with 95 % intervals (Student's t; a seed
decides the map and every draw, the held-out images are the same); `random` is the reference.
What is there is not run again, so the benchmark can be stopped and continued.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from msgspec import to_builtins

from compressor.recipe.choices import STRATEGIES
from compressor.selection.choose import Request, choose
from compressor.selection.coverage import coverage
from compressor.selection.label_plan import LabelPlan
from compressor.selection.simulation import (
    BUDGETS,
    ORACLE,
    Outcome,
    Sample,
    SimulationGrid,
    nearest_label,
    summarise,
)
from compressor.selection.tsne_map import tsne_map
from runtime.arrays import Floats, Ints
from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.metrics import normalise

Budgets = tuple[int, ...]
Cell = dict[str, list[dict[str, Any]]]
STRENGTH = 1.0
"""C of the linear probe: too few labels to choose one by."""
ON_THE_OTHER = ("k-center@map", "mini-max@map", "maxi-min@map", "typiclust@map")


@click.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--strategy", "strategies", multiple=True, help="all, and some on the map, if none")
@click.option("--budget", "budgets", multiple=True, type=int, default=BUDGETS)
@click.option("--seeds", default=10, show_default=True, help="from 0 on")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    recipes: tuple[Path, ...],
    strategies: tuple[str, ...],
    budgets: Budgets,
    seeds: int,
    out: Path,
) -> None:
    """Embed, choose, measure, print the tables, write the JSON."""
    found: dict[str, Any] = {}
    grid = SimulationGrid(strategies or (*STRATEGIES, *ON_THE_OTHER), budgets, seeds)
    for recipe in recipes:
        pool, held = embedded(recipe, out / recipe.stem / "run")
        outcomes: dict[str, list[Outcome]] = {probe: [] for probe in PROBES}
        for seed in range(grid.seeds):
            for name in grid.strategies:
                cell = kept(out / recipe.stem, pool, held, (name, seed, budgets))
                for probe in PROBES:
                    outcomes[probe] += [Outcome(**each) for each in cell[probe]]
        found[recipe.stem] = {}
        for probe in PROBES:
            rows = [asdict(each) for each in summarise(outcomes[probe])]
            found[recipe.stem][probe] = rows
            click.echo(f"\n{recipe.stem}, {len(pool.labels)} images to choose from, {probe}\n")
            click.echo(printed(rows, budgets))
    document = {"seeds": seeds, "machine": to_builtins(describe()), "tables": found}
    (out / "selection.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(f"\n{out / 'selection.json'}")


def embedded(recipe: Path, folder: Path) -> tuple[Sample, Sample]:
    """The images to choose from and the held-out ones, by the first stages of a run."""
    from compressor.pipeline import runner
    from compressor.pipeline.context import Run
    from compressor.pipeline.settling.training_defaults import with_training_defaults
    from compressor.recipe import plan as plans

    run = with_training_defaults(Run(plans.load(recipe), folder))
    with run.locked():
        runner.run_embeddings(run)
    images = run.images()
    embeddings = run.tensors("embeddings.safetensors")["images"]
    labels = images.labels.astype(np.int64)
    pool, held = images.rows("train", "validation"), images.rows("holdout")
    return Sample(embeddings[pool], labels[pool]), Sample(embeddings[held], labels[held])


def kept(folder: Path, pool: Sample, held: Sample, cell: tuple[str, int, Budgets]) -> Cell:
    """The outcomes of a strategy and a seed at each budget, from the folder if they are there."""
    name, seed, budgets = cell
    path = folder / f"{name}-{seed}-{'-'.join(map(str, budgets))}.json"
    if not path.exists():
        outcomes: Cell = {probe: [] for probe in PROBES}
        for budget in budgets:
            plan = chosen(name, seed, budget, pool, folder)
            covered = coverage(plan, pool.embeddings)
            for probe, answered in PROBES.items():
                right = answered(pool, plan.chosen, held.embeddings) == held.labels
                outcome = Outcome(
                    strategy=name,
                    budget=budget,
                    seed=seed,
                    within_radius=covered.within_radius,
                    redundancy=covered.redundancy,
                    classes_found=len(np.unique(pool.labels[plan.chosen])),
                    accuracy=float(right.mean()),
                )
                outcomes[probe].append(asdict(outcome))
        path.write_text(json.dumps(outcomes) + "\n", encoding="utf-8")
    found: Cell = json.loads(path.read_text(encoding="utf-8"))
    return found


def chosen(name: str, seed: int, budget: int, pool: Sample, folder: Path) -> LabelPlan:
    """A choice; the map of a seed is made once and kept in the folder."""
    path = folder / f"map-{seed}.npy"
    if not path.exists():
        np.save(path, tsne_map(pool.embeddings, seed))
    strategy, _, where = name.partition("@")
    labels = pool.labels if strategy == ORACLE else None
    wanted = Request(strategy, budget, seed, labels=labels, where=where or None)
    return choose(pool.embeddings, wanted, on_map=np.load(path))


def nearest(pool: Sample, chosen: Ints, asked: Floats) -> Ints:
    """The label of the nearest chosen image."""
    return nearest_label(Sample(pool.embeddings[chosen], pool.labels[chosen]), asked)


def linear(pool: Sample, chosen: Ints, asked: Floats) -> Ints:
    """What the linear probe of a run answers, at one strength."""
    from compressor.probes import linear as probes
    from compressor.probes.training_set import TrainingSet

    labels = np.full(len(pool.labels), -1)
    labels[chosen] = pool.labels[chosen]
    if len(np.unique(pool.labels[chosen])) < 2:
        return np.full(len(asked), pool.labels[chosen[0]])
    unit = normalise(pool.embeddings)
    training = TrainingSet(unit=unit, guide=unit, labels=labels, classes=int(pool.labels.max()) + 1)
    answers: Ints = probes.fit(training, STRENGTH).logits(asked).argmax(axis=1)
    return answers


PROBES = {"nearest label": nearest, "linear": linear}


def printed(rows: list[dict[str, Any]], budgets: Budgets) -> str:
    """A row a strategy; a cell a budget: accuracy, (classes found), gain over random."""
    from runtime.text import table

    names = list(dict.fromkeys(row["strategy"] for row in rows))
    cells = {(row["strategy"], row["budget"]): _cell(row) for row in rows}
    lines = [[name, *(cells.get((name, budget), "") for budget in budgets)] for name in names]
    return table(["strategy", *(f"{budget} labels" for budget in budgets)], lines)


def _cell(row: dict[str, Any]) -> str:
    accuracy, gain = row["accuracy"], row["above_random"]
    text = f"{accuracy['mean']:.3f} ± {accuracy['high'] - accuracy['mean']:.3f}"
    text += f" ({row['classes_found']['mean']:.1f})"
    if gain:
        text += f" {gain['mean']:+.3f} ± {gain['high'] - gain['mean']:.3f}"
    return text


if __name__ == "__main__":
    guarded(main)
