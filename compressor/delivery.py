"""What is held against the device, and the report: the first and the last of the way out."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compressor import exporting, learning, preparing, stages
from compressor.run import Run
from compressor.stages import Stage
from runtime.files import read_json, write_json

if TYPE_CHECKING:
    from runtime.golden import Golden

Floats = npt.NDArray[np.float32]

MAX_BANK = 20_000
"""Training embeddings that the kNN and the OOD score search, at most; labelled ones come first."""


# --- golden set ------------------------------------------------------------------------------


def _golden_inputs(run: Run) -> dict[str, Any]:
    return {
        "root": str(run.root),
        "embeddings": stages.outputs_digest("embeddings", run.folder),
        "probes": stages.outputs_digest("probes", run.folder),
        "images": stages.outputs_digest("images", run.folder)["dataset.json"],
    }


def _make_golden(run: Run, work: Path) -> None:
    from runtime.check import fidelity_figures
    from runtime.session import Outputs

    golden = _golden(run, "student")
    golden.save(work / "holdout", root=str(run.root))
    before = _golden(run, "untrained").arrays
    outputs = Outputs(before.student_embedding, before.student_logits)
    measured = replace(golden, arrays=before)
    write_json(
        work / "untrained.json", fidelity_figures(measured, outputs, before.student_ood_embedding)
    )


def _golden(run: Run, student: str) -> Golden:
    """Held-out images with the answers of the teacher and of `student` (or `untrained`)."""
    from compressor.probing.fitting import deployed_probe, linear_probe, other_than_linear
    from runtime import fidelity
    from runtime.golden import Arrays, Golden

    found, probed = run.images(), run.tensors("probes.safetensors")
    teacher, ood = (run.tensors("embeddings.safetensors")[name] for name in ("images", "ood"))
    held = np.array([photo.split == "holdout" for photo in found.photos])
    bank = _bank_rows(found.labels, ~held)
    known = bank[found.labels[bank] >= 0]
    votes = None
    if len(known):
        of_known = found.labels[known]
        votes = fidelity.knn_votes(teacher[held], teacher[known], of_known, len(found.classes))
    probe, of_teacher = deployed_probe(probed, student), linear_probe(probed, "teacher")
    like_deployed = other_than_linear(probed, "teacher")
    linear = linear_probe(probed, student) if like_deployed else None
    arrays = Arrays(
        labels=found.labels[held],
        teacher_embedding=teacher[held],
        teacher_knn=None if votes is None else votes.argmax(axis=1),
        teacher_logits=of_teacher.logits(teacher[held]) if of_teacher else None,
        teacher_probe=like_deployed.logits(teacher[held]).argmax(axis=1) if like_deployed else None,
        teacher_ood_inside=fidelity.ood_scores(teacher[held], teacher[bank]),
        teacher_ood_outside=fidelity.ood_scores(ood, teacher[bank]) if len(ood) else None,
        student_embedding=probed[student][held],
        student_logits=probe.logits(probed[student][held]) if probe else None,
        student_ood_embedding=probed[f"{student}_ood"] if len(ood) else None,
        bank=probed[student][bank],
        bank_labels=found.labels[bank],
        linear_weight=linear.weight if linear else None,
        linear_bias=linear.bias if linear else None,
    )
    names = [photo.id for photo in found.part("holdout").photos]
    return Golden(run.root, tuple(names), tuple(run.ood_ids()), found.classes, arrays)


def _bank_rows(labels: npt.NDArray[np.int64], usable: npt.NDArray[np.bool_]) -> Any:
    """Rows of the bank: labelled images first, then evenly over the rest, at most MAX_BANK."""
    from runtime.golden import evenly

    labelled = np.flatnonzero(usable & (labels >= 0))
    others = np.flatnonzero(usable & (labels < 0))
    rows = []
    left = MAX_BANK
    for candidates in (labelled, others):
        rows.append(candidates[evenly(len(candidates), left)])
        left -= len(rows[-1])
    return np.sort(np.concatenate(rows))


# --- check -----------------------------------------------------------------------------------


def _check_inputs(run: Run) -> dict[str, Any]:
    from runtime.device import describe, version_of

    machine = describe()
    libraries = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
    return {
        "data": [run.counts(), run.pixels_digest()],
        "training": stages.outputs_digest("distill", run.folder),
        "libraries": {name: version_of(name) for name in libraries},
        "bundle": stages.outputs_digest("bundle", run.folder),
        "golden": stages.outputs_digest("golden", run.folder),
        "machine": [machine["cpu"], machine["cores"], machine["gpu"]],
    }


def _make_check(run: Run, work: Path) -> None:
    from runtime import bundle, golden, report
    from runtime.check import check

    started = time.monotonic()
    found = check(
        bundle.load(run.folder / "bundle"), golden.load(run.folder / "holdout"), track=run.track
    )
    chain = (*preparing.STAGES, *learning.STAGES, *way(run))
    before = [stage.name for stage in chain if stage.name != "check"]
    found |= {
        "data": {**run.counts(), "digest": run.pixels_digest()},
        "timings_s": {
            **{name: stages.seconds_of(name, run.folder) for name in before},
            "check": round(time.monotonic() - started, 2),
        },
        "training": _training_summary(run),
        "untrained_student": read_json(run.folder / "untrained.json"),
    }
    report.write(found, work)


def _training_summary(run: Run) -> dict[str, Any]:
    spec = run.plan.recipe.distill
    lines = (run.folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    kept = next((each for each in reversed(epochs) if each["best_so_far"]), epochs[-1])
    return {
        **{key: getattr(spec, key) for key in ("method", "center", "seed")},
        **read_json(run.folder / "training.json"),
        "epochs": len(epochs),
        "kept_epoch": kept["epoch"],
        "kept": kept,
    }


_GOLDEN: Stage[Run] = Stage(
    name="golden",
    summary="the answers of teacher and student to the held-out images",
    outputs=("holdout", "untrained.json"),
    needs=("images", "embeddings", "probes"),
    inputs=_golden_inputs,
    make=_make_golden,
    code=("compressor.delivery",),
)
_CHECK: Stage[Run] = Stage(
    name="check",
    summary="run the bundle here: latency, parity, fidelity, verdict",
    outputs=("report.json", "report.md"),
    needs=("images", "distill", "golden", "bundle"),
    inputs=_check_inputs,
    make=_make_check,
    code=("compressor.delivery",),
)


def way(run: Run) -> tuple[Stage[Run], ...]:
    """From the golden set over the files that the recipe asks for to the report."""
    return (_GOLDEN, *exporting.way(run), _CHECK)
