"""Every strategy of choosing images to label against random, at equal budgets.

    python benchmarks/selection.py RECIPE... --seeds 10 --out FOLDER

Each recipe names a data set (with labels) and a teacher. The images that are not held out are
embedded once and chosen from as if no label were known; then a probe learns from the labels of the
chosen ones only, and answers for the held-out images: the label of the nearest one, and a
multinomial logistic regression on unit-length embeddings with scikit-learn's default strength.

`strategy@map` and `strategy@embedding` say where distances are taken. Prints a table a recipe and
probe, and writes FOLDER/selection.json. Means over seeds with 95 % intervals (Student's t; a seed
decides the map and every draw, the held-out images are the same); `random` is the reference.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from compressor.selection.plan import Floats, Ints, LabelPlan
from compressor.selection.simulate import BUDGETS, Grid, Sample, nearest_label, simulate, summarise
from compressor.selection.strategies import STRATEGIES, Wanted, choose
from compressor.selection.tsne_map import tsne_map
from runtime.device import describe

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
    budgets: tuple[int, ...],
    seeds: int,
    out: Path,
) -> None:
    """Embed, choose, measure, print the tables, write the JSON."""
    found: dict[str, Any] = {}
    grid = Grid(strategies or (*STRATEGIES, *ON_THE_OTHER), budgets, seeds)
    for recipe in recipes:
        pool, held = embedded(recipe, out / recipe.stem / "run")
        chooser = Chooser(pool.embeddings, out / recipe.stem)
        found[recipe.stem] = {}
        for name, probe in (("nearest label", nearest_label), ("linear", linear)):
            outcomes = simulate(pool, held, grid, probe=probe, chooser=chooser)
            rows = [asdict(each) for each in summarise(outcomes)]
            found[recipe.stem][name] = rows
            click.echo(f"\n{recipe.stem}, {len(pool.labels)} images to choose from, {name}\n")
            click.echo(printed(rows, budgets))
    document = {"seeds": seeds, "machine": describe(), "tables": found}
    (out / "selection.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(f"\n{out / 'selection.json'}")


def embedded(recipe: Path, folder: Path) -> tuple[Sample, Sample]:
    """The images to choose from and the held-out ones, by the first stages of a run."""
    from compressor import recipe as recipes
    from compressor import stages
    from compressor.pipeline import STAGES
    from compressor.run import Run

    run = Run(recipes.load(recipe), folder, note=lambda line: None)
    with run.locked():
        for stage in STAGES:
            stages.run_stage(stage, run, run.folder)
            if stage.name == "embeddings":
                break
    images = run.images()
    embeddings = run.tensors("embeddings.safetensors")["images"]
    labels = images.labels.astype(np.int64)
    held = np.array([photo.split == "holdout" for photo in images.photos])
    return Sample(embeddings[~held], labels[~held]), Sample(embeddings[held], labels[held])


class Chooser:
    """`choose`, with the map of each seed made once and kept, and each choice made once."""

    def __init__(self, embeddings: Floats, folder: Path) -> None:
        self.embeddings, self.folder = embeddings, folder
        self.plans: dict[tuple[str, int, int], LabelPlan] = {}

    def __call__(self, embeddings: Floats, wanted: Wanted) -> LabelPlan:
        """As `choose`; the strategy may end in @map or @embedding."""
        key = (wanted.strategy, wanted.budget, wanted.seed)
        if key not in self.plans:
            name, _, where = wanted.strategy.partition("@")
            asked = replace(wanted, strategy=name, where=where or None)
            self.plans[key] = choose(embeddings, asked, on_map=self._map(wanted.seed))
        return self.plans[key]

    def _map(self, seed: int) -> Floats | None:
        path = self.folder / f"map-{seed}.npy"
        if not path.exists():
            np.save(path, tsne_map(self.embeddings, seed))
        made: Floats = np.load(path)
        return made


def linear(known: Sample, asked: Floats) -> Ints:
    """What a regularised multinomial logistic regression answers."""
    from sklearn.linear_model import LogisticRegression

    from runtime.fidelity import normalise

    if len(np.unique(known.labels)) < 2:
        return np.full(len(asked), known.labels[0])
    model = LogisticRegression(max_iter=1000).fit(normalise(known.embeddings), known.labels)
    answers: Ints = model.predict(normalise(asked))
    return answers


def printed(rows: list[dict[str, Any]], budgets: tuple[int, ...]) -> str:
    """A row a strategy; a cell a budget: accuracy, (classes found), gain over random."""
    from runtime.report import table

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
    main()
