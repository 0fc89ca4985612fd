"""Step `probes`: the student on every image, before and after distillation; its probes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compressor.pipeline.context import Run
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from runtime.arrays import Floats
from runtime.documents import plain
from runtime.files import write_json


def _inputs(run: Run) -> dict[str, object]:
    return {
        "student": run.network_digest(run.plan.recipe.student),
        "weights": run.outputs("distill")["student.safetensors"],
        "embeddings": run.outputs("embeddings"),
        "images": run.dataset_digest(),
    }


def _make(run: Run, work: Path) -> None:
    """Embed all images with the student, before and after distillation; choose and fit probes."""
    from safetensors.numpy import save_file

    from compressor.models.embed import embed
    from compressor.models.encoder import create_student, side_by_side
    from compressor.probes.fit import fit_all
    from runtime.results.scores import to_json

    recipe, found, compute = run.plan.recipe, run.images(), run.compute()
    untrained = create_student(recipe.student, seed=recipe.distill.seed)
    encoders = {"student": run.trained_student(), "untrained": untrained}
    both = side_by_side(*encoders.values())  # so that an image is decoded once
    arrays = dict[str, Floats]()
    for end, what, paths in (("", "images", found.paths), ("_ood", "ood images", run.ood_paths())):
        label, keep = f"student on {what}", work / "parts" / what
        seen = embed(both, paths, compute, label=label, keep=keep, track=run.track)
        for name, own in zip(encoders, np.split(seen, len(encoders), axis=1), strict=True):
            arrays[name + end] = np.ascontiguousarray(own)
    training = found.rows("train", "validation")
    embedded = {"teacher": run.tensors("embeddings.safetensors")["images"], **arrays}
    of_training = {name: embedded[name][training] for name in ("teacher", *encoders)}
    probes, choice = fit_all(of_training, found.labels[training], found.classes, run.note)
    save_file(arrays | probes, work / "probes.safetensors")
    write_json(work / "probe.json", to_json(choice))
    write_json(work / "student.json", plain(encoders["student"].card()))


STEP = Step(
    name="probes",
    summary="the student on every image, before and after; its probe",
    version=1,
    products=("probes.safetensors", "probe.json", "student.json"),
    needs=("images", "embeddings", "distill"),
    inputs=_inputs,
    make=_make,
    libraries=(*NETWORK_LIBRARIES, "scikit-learn", "scipy"),
)
