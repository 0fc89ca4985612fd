"""`compressor label --simulate`: what each strategy would have given on labelled images."""

from __future__ import annotations

import dataclasses
from typing import Any

from compressor.data.dataset import ImageSet
from compressor.pipeline.context import Run
from compressor.pipeline.steps import selection
from compressor.selection.simulation import Sample, SimulationGrid, simulate, summarise
from compressor.selection.simulation_plot import plot
from runtime.arrays import Floats
from runtime.errors import InputError
from runtime.files import write_json, write_text
from runtime.text import table

DOCUMENT, PLOT = "simulate.json", "simulate.svg"
SCHEMA_VERSION = 1


def write(run: Run) -> dict[str, Any]:
    """Simulate and write simulate.json and simulate.svg; the run's embeddings are made.

    Returns:
        The document: what was measured on what, each strategy and budget summarised, every outcome.

    Raises:
        InputError: there are too few images.
    """
    grid = SimulationGrid()
    pool = Sample(selection.pool_embeddings(run), run.images().part("train", "validation").labels)
    held = _held_out(run)
    fewest = min(grid.budgets)
    if len(pool.labels) < fewest:
        raise InputError(
            f"{run.root}: {len(pool.labels)} images can be selected; a simulation needs {fewest}"
        )
    outcomes = simulate(pool, held, grid, track=run.track)
    if not outcomes:
        raise InputError(
            f"{run.root}: fewer than {fewest} of the {len(pool.labels)} images look different to "
            f"the teacher; a simulation needs {fewest}"
        )
    summaries = summarise(outcomes)
    document = {
        "schema_version": SCHEMA_VERSION,
        "recipe": {"name": run.plan.recipe.name, "digest": run.plan.digest},
        "images": len(pool.labels),
        "labelled": int((pool.labels >= 0).sum()),
        "classes": len(run.images().classes) if pool.labelled else None,
        "held_out": len(held.labels) if held is not None and pool.labelled else 0,
        "seeds": grid.seeds,
        "probe": "the class of the most similar chosen image",
        "interval": "95 %, of the mean over seeds (Student's t); above_random by Welch's t",
        "summary": [dataclasses.asdict(each) for each in summaries],
        "outcomes": [dataclasses.asdict(each) for each in outcomes],
        "files": {"json": str(run.folder / DOCUMENT), "svg": str(run.folder / PLOT)},
    }
    write_json(run.folder / DOCUMENT, document)
    write_text(run.folder / PLOT, plot(summaries, run.plan.recipe.name))
    return document


def _held_out(run: Run) -> Sample | None:
    """The held-out images that have labels."""
    found: ImageSet = run.images()
    held = found.rows("holdout")
    rows = held[found.labels[held] >= 0]
    if not len(rows):
        return None
    embeddings: Floats = run.tensors("embeddings.safetensors")["images"][rows]
    return Sample(embeddings, found.labels[rows])


def text(document: dict[str, Any]) -> str:
    """The receipt to read."""
    cells = document["summary"]
    measured = cells and cells[0]["accuracy"] is not None
    named = cells and cells[0]["classes_found"] is not None
    headings = ["strategy", "budget", "within radius", "redundant"]
    headings[2:2] = (["classes found"] if named else []) + (
        ["accuracy", "above random"] if measured else []
    )
    rows = [_row(cell, named=named, measured=measured) for cell in cells]
    return "\n".join([table(headings, rows), "", *_remarks(document, measured), *_files(document)])


def _row(cell: dict[str, Any], *, named: bool, measured: bool) -> list[str]:
    row = [cell["strategy"], str(cell["budget"])]
    if named:
        row.append(f"{cell['classes_found']['mean']:.1f}")
    if measured:
        gained = cell["above_random"]
        row += [_interval(cell["accuracy"]), _interval(gained, signed=True) if gained else ""]
    return [*row, f"{cell['within_radius']['mean']:.3f}", f"{cell['redundancy']['mean']:.3f}"]


def _interval(found: dict[str, float], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{found['mean']:{sign}.3f} ({found['low']:{sign}.3f} to {found['high']:{sign}.3f})"


def _remarks(document: dict[str, Any], measured: bool) -> list[str]:
    over = f"Means over {document['seeds']} seeds; of {document['images']:,} images"
    if measured:
        return [
            f"{over}, {document['classes']} classes; accuracy on {document['held_out']:,} held-out "
            "images, by the nearest chosen image.",
            "In brackets the 95 % interval of the mean: it says how much the seed matters, not how "
            "much these images do.",
        ]
    if document["labelled"] == document["images"]:
        return [f"{over}. No accuracy: no held-out image has a label."]
    return [
        f"{over}, {document['labelled']:,} of them labelled: without the labels of all, coverage "
        "and redundancy are all there is to say.",
        "They do not tell what accuracy a choice leads to.",
    ]


def _files(document: dict[str, Any]) -> list[str]:
    return [f"{document['files']['json']}\n{document['files']['svg']}"]
