"""How the student was trained, in sentences; what no sentence knows follows as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.results.making import Training

_SCORES = {"similarity": "similarity", "knn_accuracy": "kNN accuracy"}


def lines(training: Training) -> tuple[list[str], dict[str, Any]]:
    """Say how a student was trained.

    Args:
        training: what the method and the run say of it; any key may be missing.

    Returns:
        Sentences, and what none of them knows.
    """
    said = [
        *_data(training),
        *_start(training.get("start", {})),
        *_epochs(training),
        *_head(training),
        *_again(training.get("solved_again", {})),
        *_mean(training.get("mean_restored", {})),
    ]
    return said, {key: value for key, value in training.items() if key not in _KNOWN}


_KNOWN = {"method", "seed", "center", "images", "views", "mixed_views", "teacher", "start", "batch",
          "steps", "epochs", "kept_epoch", "kept", "token_maps", "head", "head_fit",
          "head_fidelity", "head_and_centring", "mean_restored", "solved_again"}  # fmt: skip


def _data(training: Training) -> list[str]:
    parts = list[str]()
    if "method" in training:
        parts.append(f"Method `{training['method']}`, seed {training.get('seed', 0)}")
    if "images" in training:
        mixed = f", {training['mixed_views']} of them mixed" if "mixed_views" in training else ""
        views = f"{training.get('views', 1)} views of each{mixed}"
        parts.append(f"{training['images']:,} training images, {views}")
    if training.get("teacher"):
        centred = "less their mean" if training.get("center") else "with their mean"
        parts.append(f"the teacher's features {training['teacher']}, {centred}")
    if maps := training.get("token_maps"):
        parts.append(f"its feature map too, at {' x '.join(map(str, maps))} cells")
    return ["; ".join(parts) + "."] if parts else []


def _start(start: Mapping[str, Any]) -> list[str]:
    if not start:
        return []
    seen = f"from {start['views']} views of {start['images']:,} images"
    if "synthetic_images" in start:
        seen += f" and {start['synthetic_images']} synthetic ones"
    inputs = f"{start['inputs']:,} of the student's features"
    if "unexplained" not in start:
        return [f"Start: the main directions of {inputs}, {seen}, without a teacher."]
    return [
        f"Closed form: the embedding layer was solved from {inputs}, {seen}. On images that it had "
        f"not seen it leaves {start['unexplained']:.0%} of the variance of the teacher's features "
        f"unexplained (cross-validated; ridge strength {start['strength']:.2g})."
    ]


def _epochs(training: Training) -> list[str]:
    if "epochs" not in training:
        return []
    if not training["epochs"]:
        return ["Not trained further: `distill.epochs` is 0."]
    steps = f"{training['steps']:,} steps" if "steps" in training else "steps"
    batch = f" of {training['batch']} images" if "batch" in training else ""
    kept = training.get("kept_epoch")
    named = "its start (epoch 0) was kept" if kept == 0 else f"epoch {kept} was kept"
    return [
        f"Trained for {training['epochs']} epochs, {steps}{batch}; {named}"
        f"{_scores(training.get('kept', {}))}."
    ]


def _scores(kept: Mapping[str, Any]) -> str:
    said = [f"{name} {kept[key]:.3f}" for key, name in _SCORES.items() if key in kept]
    return f" (on validation images: {', '.join(said)})" if said else ""


def _head(training: Training) -> list[str]:
    if "head" not in training:
        return []
    fit = f", fitted {_FITS.get(training['head_fit'], '')}" if "head_fit" in training else ""
    found = f"Head from the teacher's width to the student's: {training['head']}{fit}"
    kept = [
        f"{name} {_fidelity(training[key])}"
        for key, name in (
            ("head_fidelity", "it keeps the centred cosines with"),
            ("head_and_centring", "centring and head together keep the plain ones with"),
        )
        if key in training
    ]
    return ["; ".join([found, *kept]) + "."]


_FITS = {"first": "before the student", "joint": "with the student"}


def _fidelity(found: Mapping[str, Any]) -> str:
    said: Sequence[str] = (
        f"a correlation of {found['cosine_correlation']:.3f}",
        f"a mean error of {found['cosine_mae']:.2g}",
    )
    return " and ".join(said)


def _again(solved: Mapping[str, Any]) -> list[str]:
    if not solved:
        return []
    before, after = solved["before"], solved["after"]
    kept = "kept" if after > before else "left, the trained layer is kept"
    return [
        "The embedding layer was solved once more from the trained features: on validation images "
        f"{after:.3f} in place of {before:.3f}, {kept}."
    ]


def _mean(restored: Mapping[str, Any]) -> list[str]:
    if not restored:
        return []
    return [
        f"{restored['share']:.0%} of the teacher's mean was given back to every embedding: the "
        f"plain cosines of validation images then follow the teacher's with a correlation of "
        f"{restored['similarity']:.3f}, the best of the shares that were tried."
    ]
