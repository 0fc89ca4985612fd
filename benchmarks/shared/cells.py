"""What several benchmarks share: one run of a recipe, and how good its student is.

A student is a YAML file with the keys of the section `student:`; its file name is its name in the
tables. Everything goes through the steps of `compressor run`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCORES = {
    "kNN": "accuracy_knn",
    "linear": "accuracy_linear",
    "kNN agrees": "agreement_knn",
    "linear agrees": "agreement_linear",
    "r": "similarity_correlation_centred",
    "OOD AUROC": "ood_auroc",
}
"""Columns, and the names of their scores in report.json."""


def student_of(path: Path) -> list[str]:
    """Return the changes of a recipe that give it the student of a file."""
    from ruamel.yaml import YAML

    section = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    weights = section.get("weights", "auto")
    if weights not in ("auto", "hub", "none"):
        section["weights"] = str((path.resolve().parent / weights).resolve())
    return [f"student={json.dumps(section)}"]


def opened(recipe: Path, changes: Sequence[str], folder: Path) -> Any:
    """Return the run of a recipe, its weights and defaults settled, and what fits its minutes."""
    from compressor.pipeline import runner
    from compressor.pipeline.context import Run
    from compressor.pipeline.settling import time_budget, weights
    from compressor.pipeline.settling.training_defaults import with_training_defaults
    from compressor.recipe import plan as plans

    run = Run(plans.load(recipe, changes), folder)
    with run.locked():
        run = with_training_defaults(weights.settled(run))
        if run.plan.recipe.distill.minutes is None:
            return run
        runner.run_images(run)
        return time_budget.settled(run)


def run_to_golden(recipe: Path, changes: Sequence[str], folder: Path, cpu: dict[str, float]) -> Any:
    """Run the steps up to the held-out images, and return the run.

    Args:
        recipe: with images, teacher and a student.
        changes: laid over it.
        folder: of the run.
        cpu: receives the processor seconds of each step that is made, by its entry in the store.
    """
    from compressor.events import StepEnded, StepStarted
    from compressor.pipeline import runner

    began = 0.0

    def observe(event: object) -> None:
        nonlocal began
        if isinstance(event, StepStarted):
            began = time.process_time()
        elif isinstance(event, StepEnded) and event.state == "made":
            cpu[run.files.record(event.step).entry] = time.process_time() - began

    run = opened(recipe, changes, folder)
    run.observer = observe
    with run.locked():
        runner.run_all(run, until="golden")
    return run


def scores_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the scores of the held-out images, by the name of a network.

    Those of `teacher` and `student`, and of what the student was before (`raw`, `closed_form`):
    each name as in report.json, with `_ci` beside it.
    """
    from runtime.bundle import golden
    from runtime.evaluation import metric_table, subject
    from runtime.results.scores import to_json

    found = golden.load(folder / "holdout")
    subjects = {
        "teacher": subject.of_teacher(found),
        "student": subject.of_student(found, subject.bank_of(found)),
    }
    scores = {name: to_json(metric_table.scores_of(each)) for name, each in subjects.items()}
    before = json.loads((folder / "before.json").read_text(encoding="utf-8"))
    return {**before, **scores}


def cells_of(scores: Mapping[str, Any]) -> list[str]:
    """Return a row's figures for `SCORES`, and their intervals over held-out images."""
    return [_cell(scores, key) for key in SCORES.values()]


def _cell(scores: Mapping[str, Any], key: str) -> str:
    if scores.get(key) is None:
        return ""
    low, high = scores[f"{key}_ci"]
    return f"{scores[key]:.3f} ({low:.3f} to {high:.3f})"
