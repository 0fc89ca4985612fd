"""What is wrong with a recipe between its keys, or between a key and the disk."""

from __future__ import annotations

from pathlib import Path

from compressor.recipe.choices import METHODS, STRATEGIES
from compressor.recipe.document import Key
from compressor.recipe.networks import AUTO, NONE, WEIGHTS_WORDS, Network
from compressor.recipe.places import addresses, weights_folder
from compressor.recipe.schema import Recipe
from runtime.errors import InputError
from runtime.evaluation import gates


def mistakes_of(recipe: Recipe) -> list[tuple[Key, str]]:
    """Return the mistakes that no single key shows, each with the key to correct.

    Args:
        recipe: its paths resolved.
    """
    data, mistakes = recipe.data, list[tuple[Key, str]]()
    for key in ("images", "holdout", "ood"):
        address = getattr(data, key)
        if isinstance(address, str) and (mistake := addresses.mistake_in(address)):
            mistakes.append((("data", key), mistake))
    if data.crops and not addresses.has_boxes(data.images):
        what = "boxes come with COCO's and YOLO's data sets only (an annotation file, a data.yaml)"
        mistakes.append((("data", "crops"), what))
    if mistake := _about_labels(recipe):
        mistakes.append((("data", "labels"), mistake))
    if recipe.label is not None and STRATEGIES[recipe.label.strategy].needs_labels:
        what = "reads the labels that are to be made; only `compressor label --simulate` uses it"
        mistakes.append((("label", "strategy"), what))
    if recipe.teacher.weights in (AUTO, NONE):
        mistakes.append((("teacher", "weights"), "a teacher needs weights: `hub` or a local file"))
    for role, network in (("teacher", recipe.teacher), ("student", recipe.student)):
        if mistake := _about_weights(network):
            mistakes.append(((role, "weights"), mistake))
    mistakes += _about_auto(recipe)
    if not recipe.export.precisions:
        mistakes.append((("export", "precisions"), "empty: name at least one"))
    for field in ("precisions", "formats", "engines"):
        named = getattr(recipe.export, field)
        if len(set(named)) < len(named):
            mistakes.append((("export", field), "names a value twice"))
    mistakes += [(("distill", key), what) for key, what in recipe.distill.mistakes()]
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
    if student.model != AUTO:
        return mistakes
    if require.latency_p95_ms is None and require.size_mb is None:
        what = "auto needs a limit: set require.latency_p95_ms or require.size_mb"
        mistakes.append((("student", "model"), what))
    if student.args:
        what = "belong to one model; leave them out with model auto"
        mistakes.append((("student", "args"), what))
    if student.weights not in WEIGHTS_WORDS and not Path(student.weights).is_dir():
        what = "belong to one model; use auto, hub, none or a folder of weights with model auto"
        mistakes.append((("student", "weights"), what))
    return mistakes


def _about_weights(network: Network) -> str | None:
    """A file of weights must be there; a folder must hold those of the model."""
    path = Path(network.weights)
    if network.weights in WEIGHTS_WORDS or path.is_file():
        return None
    if not path.is_dir():
        return f"no such file: {path}"
    try:
        if network.model == AUTO:
            weights_folder.require_any(path)
        else:
            weights_folder.file_for(path, network.model)
    except InputError as error:
        return str(error)
    return None


def _about_labels(recipe: Recipe) -> str | None:
    """A CSV of labels must be there, unless the recipe says that they are still being given."""
    labels = recipe.data.labels
    path = Path(labels)
    if labels in addresses.LABEL_WORDS or path.is_file():
        return None
    could_be_written = path.suffix.lower() == ".csv" and not path.exists()
    if could_be_written and path.parent.is_dir():
        if recipe.label is not None:
            return None
        return f"no such file: {path}; a section `label:` says which images to label in it first"
    return f"not folders, source, none, or a CSV file: {path}"
