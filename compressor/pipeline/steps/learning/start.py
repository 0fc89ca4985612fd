"""Step `start`: the embedding layer of a student that has weights, solved without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compressor.data.augmentation import first_unmixed
from compressor.pipeline.context import Run
from compressor.pipeline.crew import together
from compressor.pipeline.shared import teacher_views, training_data
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from compressor.pipeline.storage.digests import digest
from compressor.recipe.choices import METHODS

if TYPE_CHECKING:
    from compressor.distillation.training import Start

_STUDENT, _HEADS, _SYNTHETIC = "student.", "heads.", "synthetic"
_DECIDING = {
    "method",
    "head",
    "head_fit",
    "center",
    "token_maps",
    "resample",
    "seed",
    "synthetic",
    "teacher_precision",
}
"""Keys of `distill:` that decide the start; `views` by what it sees."""


def wanted(run: Run) -> bool:
    """Return whether the student starts from weights, so that there is a layer to solve."""
    return run.plan.recipe.student.pretrained


def _inputs(run: Run) -> dict[str, object]:
    recipe, found = run.plan.recipe, run.images()
    train = found.part("train")
    needs_labels = METHODS[recipe.distill.method].needs_labels
    views = recipe.distill.start_views(len(train))
    mixed = recipe.distill.mixed_views(len(train), pretrained=True)
    return {
        "labels": digest([train.labels.tolist(), found.classes]) if needs_labels else None,
        "student": run.network_digest(recipe.student),
        "distill": recipe.distill.model_dump(mode="json", include=_DECIDING),
        "views": [views, recipe.distill.crops],
        # A teacher that runs online makes its mean from one more
        **({"sampled": first_unmixed(mixed)} if len(views) == 1 else {}),
        "train": digest(train.keys),
        "pixels": run.outputs("pixels"),
        "features": run.outputs("features"),
        "embeddings": run.outputs("embeddings"),
        **teacher_views.draft(run),
    }


def _make(run: Run, work: Path) -> None:
    from safetensors.torch import save_file

    from runtime.files import write_json

    recipe = run.plan.recipe
    start, summary = together(run, _solve)
    states = ((_STUDENT, start.student), (_HEADS, start.heads))
    tensors = {
        prefix + key: each.contiguous() for prefix, state in states for key, each in state.items()
    }
    if start.synthetic is not None:
        tensors[_SYNTHETIC] = start.synthetic.pooled
        summary["synthetic_px"] = start.synthetic.side_px
    save_file(tensors, work / "start.safetensors", metadata={"model": recipe.student.model})
    write_json(work / "start.json", summary)


def _solve(run: Run) -> tuple[Start, dict[str, object]]:
    from compressor.distillation.start.closed_form import solve_start
    from compressor.models.encoder import create_student

    recipe, compute = run.plan.recipe, run.shared_compute()
    return solve_start(
        create_student(recipe.student, seed=recipe.distill.seed),
        training_data.of(run, compute),
        recipe.distill,
        compute,
        teacher=teacher_views.runner(run, compute) if _asks_teacher(run) else None,
        track=run.track,
        note=run.note,
    )


def _asks_teacher(run: Run) -> bool:
    """Return whether the teacher is asked about synthetic images."""
    spec = run.plan.recipe.distill
    return bool(spec.synthetic) and METHODS[spec.method].needs_teacher


def load(run: Run) -> Start:
    """Return what the step has made."""
    from safetensors.torch import load_file

    from compressor.distillation.start.synthetic import SyntheticAnswers
    from compressor.distillation.training import Start
    from runtime.documents import read_json

    tensors = load_file(run.file("start.safetensors"))
    student, heads = (
        {key.removeprefix(prefix): each for key, each in tensors.items() if key.startswith(prefix)}
        for prefix in (_STUDENT, _HEADS)
    )
    synthetic = None
    if _SYNTHETIC in tensors:
        side_px = read_json(run.file("start.json"))["synthetic_px"]
        seed = run.plan.recipe.distill.seed
        synthetic = SyntheticAnswers(tensors[_SYNTHETIC], seed, side_px)
    return Start(student, heads, synthetic)


STEP = Step(
    name="start",
    summary="the student's embedding layer, solved in closed form",
    version=2,
    products=("start.safetensors", "start.json"),
    needs=("images", "embeddings", "pixels", "features"),
    inputs=_inputs,
    make=_make,
    libraries=NETWORK_LIBRARIES,
)
