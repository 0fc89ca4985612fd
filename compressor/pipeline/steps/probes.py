"""Step `probes`: the student on every image, before and after distillation; its probes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressor.pipeline.context import Run
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from compressor.pipeline.steps.learning import start
from runtime.arrays import Floats
from runtime.documents import plain
from runtime.files import write_json

if TYPE_CHECKING:
    from compressor.models.encoder import Encoder

UNTRAINED, CLOSED_FORM, RAW = "untrained", "closed_form", "raw"
"""Names of the student before training: from scratch, after the step `start`, and what its backbone
gives without any of ours."""


def _inputs(run: Run) -> dict[str, object]:
    return {
        "student": run.network_digest(run.plan.recipe.student),
        "before": before_training(run),
        "weights": run.outputs("distill")["student.safetensors"],
        **({"start": run.outputs("start")["start.safetensors"]} if start.wanted(run) else {}),
        "embeddings": run.outputs("embeddings"),
        "images": run.dataset_digest(),
    }


def before_training(run: Run) -> tuple[str, ...]:
    """Return the names of the student before training: what is compared with the trained one."""
    if not start.wanted(run):
        return (UNTRAINED,)
    return (RAW,) if run.plan.recipe.distill.epochs == 0 else (CLOSED_FORM, RAW)


def _make(run: Run, work: Path) -> None:
    """Embed all images with the student, before and after distillation; choose and fit probes."""
    from safetensors.numpy import save_file

    from compressor.models.embed import embed
    from compressor.probes.fit import fit_all
    from runtime.results.scores import to_json

    found, compute = run.images(), run.compute()
    student = run.trained_student()
    both, widths, arrays = _side_by_side(run, student)
    cuts = np.cumsum([*widths.values()])[:-1]
    for end, what, paths in (("", "images", found.paths), ("_ood", "ood images", run.ood_paths())):
        label, keep = f"student on {what}", work / "parts" / what
        seen = embed(both, paths, compute, label=label, keep=keep, track=run.track)
        for name, own in zip(widths, np.split(seen, cuts, axis=1), strict=True):
            arrays[name + end] = np.ascontiguousarray(own)
    training = found.rows("train", "validation")
    embedded = {"teacher": run.tensors("embeddings.safetensors")["images"], **arrays}
    of_training = {name: embedded[name][training] for name in ("teacher", *widths)}
    probes, choice = fit_all(of_training, found.labels[training], found.classes, run.note)
    save_file(arrays | probes, work / "probes.safetensors")
    write_json(work / "probe.json", to_json(choice))
    write_json(work / "student.json", plain(student.card()))


def _side_by_side(run: Run, student: Encoder) -> tuple[Encoder, dict[str, int], dict[str, Floats]]:
    """Return the student and what it was before as one encoder, so that an image is decoded once.

    Returns:
        The encoder; the width of each part of its output, in order; the centres of those parts
        that have one.
    """
    from torch import nn

    from compressor.models.embedding_net import EmbeddingNet, WithPooled
    from compressor.models.encoder import create_student
    from compressor.models.features import widths_of
    from compressor.models.side_by_side import side_by_side

    recipe, centres = run.plan.recipe, _centre("student", student)
    if not start.wanted(run):
        untrained = create_student(recipe.student, seed=recipe.distill.seed)
        widths = {"student": student.dim, UNTRAINED: untrained.dim}
        return side_by_side(student, untrained), widths, centres
    solved = run.student(start.load(run).student)
    raw = widths_of(solved.module.backbone, solved.preprocess.size_px, ())[0]
    module = EmbeddingNet(WithPooled(solved.module, raw), nn.Identity())
    with_raw = replace(solved, module=module, dim=solved.dim + raw)
    if recipe.distill.epochs == 0:
        return side_by_side(with_raw), {"student": student.dim, RAW: raw}, centres
    widths = {"student": student.dim, CLOSED_FORM: solved.dim, RAW: raw}
    return side_by_side(student, with_raw), widths, centres | _centre(CLOSED_FORM, solved)


def _centre(name: str, student: Encoder) -> dict[str, Floats]:
    """Return the constant of its embedding layer, if it was given one."""
    constant = student.module.constant
    if constant is None or not constant.any():
        return {}
    return {f"{name}_centre": constant.numpy(force=True)}


def step(*, started: bool) -> Step:
    """Return the step.

    Args:
        started: whether the step `start` comes before it, because the student has weights.
    """
    return Step(
        name="probes",
        summary="the student on every image, before and after; its probe",
        version=3,
        products=("probes.safetensors", "probe.json", "student.json"),
        needs=("images", "embeddings", "distill", *(["start"] if started else [])),
        inputs=_inputs,
        make=_make,
        libraries=(*NETWORK_LIBRARIES, "scikit-learn", "scipy"),
    )
