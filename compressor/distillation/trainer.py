"""The training loop: a student learns to match the teacher on fixed seeded views."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from compressor.data.loading import ViewId, load_batches
from compressor.data.view_cache import ViewCache
from compressor.distillation import checkpoint
from compressor.distillation.checkpoint import interrupted_between_steps, save_best
from compressor.distillation.epochs import Best, write_log
from compressor.distillation.start.again import solve_ends
from compressor.distillation.start.mean import restore_mean
from compressor.distillation.training import Start, Training
from compressor.distillation.training_data import TrainingData
from compressor.distillation.validation import Validation
from compressor.distributed.group import told_of_lost_processes
from compressor.events import EpochEnded
from compressor.models.compute import Compute, same_bits, within_memory
from compressor.models.encoder import Encoder
from compressor.recipe.schema import Distill
from runtime.files import write_json
from runtime.progress import Track, silent

logger = logging.getLogger(__name__)

FEW_IMAGES, FEW_STEPS = 500, 400
"""Below these, training from scratch gives a warning."""
_NOTHING_CHOOSES = {
    "similarity": "fewer than 3 validation images: no score could choose an epoch, and the last "
    "one is kept; more images, or a larger distill.validation, would choose",
    "knn_accuracy": "fewer than 3 labelled validation images have another one of their class: no "
    "score could choose an epoch, and the last one is kept; more labelled images, or a larger "
    "distill.validation, would choose",
}


def log_epoch(ended: EpochEnded) -> None:
    """Write an epoch to this module's logger."""
    logger.info("%s", ended.text())


def distill(
    student: Encoder,
    data: TrainingData,
    spec: Distill,
    compute: Compute,
    work: Path,
    *,
    start: Start | None = None,
    track: Track = silent,
    note: Callable[[str], None] = logger.info,
    on_epoch: Callable[[EpochEnded], None] = log_epoch,
) -> dict[str, Tensor]:
    """Train the student; continue from `work/checkpoint.pt` if it is there.

    The method says what the student learns, and which validation score may choose another epoch
    than the last one; with too few validation images for a score, the last one is taken.

    Args:
        student: before distillation; its module is trained in place.
        data: images and teacher features.
        spec: the recipe's `distill:`.
        compute: where to train; its group shares each batch, and its first process writes.
        start: what the training begins with, instead of the student as it is; it stays the best
            student until an epoch gives a better one.
        work: folder for the checkpoint, train.jsonl and training.json.
        track: shows the progress.
        note: called with lines for the user, such as warnings.
        on_epoch: called after every epoch.

    Returns:
        The state dict of the student that is kept, on the CPU.

    Raises:
        InputError: the loss is no longer finite.
        MissingDependencyError: the chosen precision does not run here.
    """
    group = compute.group
    gpus = [compute.device] if compute.device.type == "cuda" else []
    # Dropout and drop path draw from torch's own generators
    with torch.random.fork_rng(devices=gpus), same_bits(spec.deterministic):
        torch.manual_seed(spec.seed + group.rank)
        training = Training(student, data, spec, compute, note)
        schedule = training.schedule
        _warn_of_small_sets(training, note)
        saved_state = work / "checkpoint.pt"
        validation = training.validation()
        if group.of_first(saved_state.exists()):
            checkpoint.load(training, saved_state)
            note(f"continuing after step {training.done} of {schedule.steps}")
        elif start is not None:
            training.load(start)
            on_epoch(training.begin(validation.measure(training.student)))
            if group.is_first:
                write_log(work / "train.jsonl", training.log)
        views = data.views(student)
        # Processes see other images in each epoch: each would fill a cache of its own
        keep_views = data.keep_views and group.size == 1
        dataset = ViewCache(views, schedule.views, work) if keep_views else views
        loaded = load_batches(
            dataset, own_batches(training), compute.workers, pinned=compute.on_gpu
        )
        batches = zip(own_batches(training), loaded, strict=True)
        tracked = track(batches, label="distilling", total=schedule.steps - training.done)
        with interrupted_between_steps() as interruption:
            saved = started = time.monotonic()
            for jobs, batch in tracked:
                if training.has_stopped:
                    break
                with within_memory(len(jobs), _smaller_step(spec)), told_of_lost_processes():
                    training.step(jobs, batch)
                if training.at_epoch_end:
                    seconds, started = time.monotonic() - started, time.monotonic()
                    ended = training.end_epoch(validation.measure(training.student), seconds)
                    if not group.is_first:
                        continue
                    write_log(work / "train.jsonl", training.log)
                    if ended.best_so_far:
                        save_best(training, work)
                    on_epoch(ended)
                if not group.is_first:
                    continue
                if interruption.asked or time.monotonic() - saved >= spec.checkpoint_s:
                    checkpoint.save(training, saved_state)
                    saved = time.monotonic()
                if interruption.asked:
                    note(f"stopped after step {training.done} of {schedule.steps}, which is kept")
                    raise KeyboardInterrupt
        has_stopped = training.has_stopped
        again = None
        if start is not None:
            again = solve_ends(training, validation, start.synthetic, track)
        elif training.best.state:
            keep_end(training, validation)
        training.student.eval()
        if schedule.steps and not training.best.state:
            note(_NOTHING_CHOOSES[training.method.quality])
        if has_stopped:
            note(
                f"stopped early: no better student in the last {spec.stop_after} epochs; "
                f"epoch {training.best.epoch} is kept"
            )
        if not group.is_first:
            return training.student_state()
        write_log(work / "train.jsonl", training.log)
        restored = restore_mean(training, validation)
    summary = training.summary()
    if again is not None:
        summary["solved_again"] = asdict(again)
    if restored is not None:
        summary["mean_restored"] = asdict(restored)
    write_json(work / "training.json", summary)
    return {key: value.contiguous() for key, value in training.student_state().items()}


def keep_end(training: Training, validation: Validation) -> None:
    """Give a student from scratch the weights of its last epoch, or of a clearly better one."""
    last = training.log[-1]
    quality = last.scores.get(training.method.quality)
    is_best = training.best.epoch == last.epoch
    if not is_best and quality is not None and training.prefers_last(validation):
        training.keep(Best(quality, last.epoch, training.student_state()))
    training.student.load_state_dict(training.best.state)


def own_batches(training: Training) -> Iterator[Sequence[ViewId]]:
    """Yield this process's part of the batch of each step that is to come."""
    for jobs in training.schedule.batches(training.done):
        yield training.group.cut(jobs)


def _smaller_step(spec: Distill) -> str:
    """Return what makes a step take less memory."""
    twice = f"distill.accumulate: {2 * spec.accumulate}"
    return f"{twice}, a smaller distill.batch or student.image_size"


def _warn_of_small_sets(training: Training, note: Callable[[str], None]) -> None:
    images, batch, wanted = len(training.data.train), training.schedule.batch, training.spec.batch
    if wanted and batch < wanted:
        note(f"batch {batch}, not {wanted}: there are no more training images")
    if training.encoder.origin.weights != "none":
        return
    millions = sum(parameter.numel() for parameter in training.student.parameters()) / 1e6
    if images < FEW_IMAGES or training.schedule.steps < FEW_STEPS:
        note(
            f"warning: {images} images and {training.schedule.steps} steps are few to teach "
            f"{millions:.1f} million weights from scratch: expect a student well below its "
            "teacher.\n  Add unlabelled images, raise distill.epochs, or begin from pretrained "
            "weights (student.weights)."
        )
