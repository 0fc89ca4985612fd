"""Step `embeddings`: the teacher on every image, as the device sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec.structs import replace

from compressor.data.augmentation import PLAIN
from compressor.pipeline.context import Run
from compressor.pipeline.crew import together
from compressor.pipeline.shared import teacher_views
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from compressor.pipeline.storage.digests import digest
from runtime.arrays import Floats
from runtime.documents import plain
from runtime.files import replacing, write_json


def _inputs(run: Run) -> dict[str, object]:
    return {
        "teacher": run.network_digest(run.plan.recipe.teacher),
        "precision": run.plan.recipe.distill.teacher_precision,
        "pixels": run.pixels_digest(),
        "train": digest(run.images().part("train").keys),
    }


def _make(run: Run, work: Path) -> None:
    import torch
    from safetensors.numpy import save_file

    from compressor.distillation.teacher_features import pooled_of, require_finite

    teacher, precision = run.teacher, teacher_views.precision(run)

    def look(name: str) -> Floats:
        found = together(run, _embedded, name, work)
        require_finite(torch.from_numpy(found), precision or torch.float32)
        return found

    # The training images as they are: their first view, which the student learns from too
    found = run.images()
    of_all = np.empty((len(found), teacher.dim), np.float32)
    of_all[found.rows("train")] = pooled_of(teacher_views.shards(run, [PLAIN]))
    of_all[found.rows("validation", "holdout")] = look("other")
    with replacing(work / "embeddings.safetensors") as temporary:
        save_file({"images": of_all, "ood": look("ood")}, temporary)
    computed_in = str(precision or torch.float32).removeprefix("torch.")
    write_json(work / "teacher.json", plain(replace(teacher.card(), computed_in=computed_in)))


def _embedded(run: Run, name: str, work: Path) -> Floats:
    """Embed the images that are not trained on (`other`), or those that are not of the task."""
    from compressor.models.embed import embed

    others = run.images().part("validation", "holdout")
    paths = run.ood_paths() if name == "ood" else others.paths

    return embed(
        run.teacher,
        paths,
        run.shared_compute(),
        label=f"teacher on {name} images",
        precision=teacher_views.precision(run),
        keep=work / "parts" / name,
        track=run.track,
    )


STEP = Step(
    name="embeddings",
    summary="the teacher on every image",
    version=1,
    products=("embeddings.safetensors", "teacher.json"),
    needs=("images",),
    inputs=_inputs,
    make=_make,
    libraries=NETWORK_LIBRARIES,
)
