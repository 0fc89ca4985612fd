"""What is wrong with a recipe between its keys, or between a key and the disk."""

from __future__ import annotations

from pathlib import Path

from compressor.recipe.choices import METHODS, STRATEGIES
from compressor.recipe.document import Key
from compressor.recipe.schema import Recipe
from runtime.evaluation import gates


def mistakes_of(recipe: Recipe) -> list[tuple[Key, str]]:
    """Return the mistakes that no single key shows, each with the key to correct.

    Args:
        recipe: its paths resolved.
    """
    data, mistakes = recipe.data, list[tuple[Key, str]]()
    folders: list[tuple[Key, object]] = [(("data", "images"), data.images)]
    folders += [(("data", "holdout"), data.holdout), (("data", "ood"), data.ood)]
    for key, folder in folders:
        if isinstance(folder, Path) and not folder.is_dir():
            mistakes.append((key, f"no such folder: {folder}"))
    if mistake := _about_labels(recipe):
        mistakes.append((("data", "labels"), mistake))
    if recipe.label is not None and STRATEGIES[recipe.label.strategy].needs_labels:
        what = "reads the labels that are to be made; only `compressor label --simulate` uses it"
        mistakes.append((("label", "strategy"), what))
    if recipe.teacher.weights == "none":
        mistakes.append((("teacher", "weights"), "a teacher needs weights: `hub` or a local file"))
    for role, network in (("teacher", recipe.teacher), ("student", recipe.student)):
        if network.weights not in ("hub", "none") and not Path(network.weights).is_file():
            mistakes.append(((role, "weights"), f"no such file: {network.weights}"))
    mistakes += _about_auto(recipe)
    if not recipe.export.precisions:
        mistakes.append((("export", "precisions"), "empty: name at least one"))
    for field in ("precisions", "engines"):
        named = getattr(recipe.export, field)
        if len(set(named)) < len(named):
            mistakes.append((("export", field), "names a value twice"))
    if recipe.distill.crop_scale[0] > recipe.distill.crop_scale[1]:
        mistakes.append((("distill", "crop_scale"), "the first share is above the second"))
    batch = recipe.distill.batch or 32
    if batch < 3 * recipe.distill.accumulate and recipe.distill.accumulate > 1:
        mistakes.append((("distill", "accumulate"), "leaves parts of under 3 images"))
    method = METHODS[recipe.distill.method]
    if data.labels == "none" and recipe.label is None and method.needs_labels:
        what = f"{method.name} needs labels; data.labels is none"
        mistakes.append((("distill", "method"), what))
    return mistakes + _unmeasurable_gates(recipe)


def _unmeasurable_gates(recipe: Recipe) -> list[tuple[Key, str]]:
    """Gates that need what the recipe does not have, by the table of gates."""
    data = recipe.data
    missing = {
        "labels": data.labels == "none" and recipe.label is None,
        "data.ood": data.ood is None,
    }
    words = {"labels": "needs labels, and data.labels is none", "data.ood": "needs data.ood"}
    return [
        (("require", gate.key), words[need])
        for gate in gates.of_recipes()
        if getattr(recipe.require, gate.key) is not None
        for need in gate.needs
        if missing.get(need)
    ]


def _about_auto(recipe: Recipe) -> list[tuple[Key, str]]:
    """A student that is looked for needs something to fit, and nothing of one model alone."""
    student, require, mistakes = recipe.student, recipe.require, list[tuple[Key, str]]()
    if student.latency_table is not None and not student.latency_table.is_file():
        mistakes.append((("student", "latency_table"), f"no such file: {student.latency_table}"))
    if student.model != "auto":
        return mistakes
    if require.latency_p95_ms is None and require.size_mb is None:
        what = "auto needs a limit: set require.latency_p95_ms or require.size_mb"
        mistakes.append((("student", "model"), what))
    if student.args:
        what = "belong to one model; leave them out with model auto"
        mistakes.append((("student", "args"), what))
    if student.weights not in ("none", "hub"):
        what = "belong to one model; use none or hub with model auto"
        mistakes.append((("student", "weights"), what))
    return mistakes


def _about_labels(recipe: Recipe) -> str | None:
    """A CSV of labels must be there, unless the recipe says that they are still being given."""
    labels = recipe.data.labels
    path = Path(labels)
    if labels in ("folders", "none") or path.is_file():
        return None
    could_be_written = path.suffix.lower() == ".csv" and not path.exists()
    if could_be_written and path.parent.is_dir():
        if recipe.label is not None:
            return None
        return f"no such file: {path}; a section `label:` says which images to label in it first"
    return f"not folders, none, or a CSV file: {path}"
