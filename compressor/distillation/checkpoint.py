"""A training on disk: written whole, read to continue with the same bits."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from safetensors.torch import save_file

from compressor.distillation.epochs import BEST_STUDENT, Best, from_line, to_line
from compressor.distillation.training import Training
from runtime.files import replacing


@dataclass
class Interruption:
    """Whether the user pressed Ctrl-C."""

    asked: bool = False


@contextmanager
def interrupted_between_steps() -> Iterator[Interruption]:
    """Let a first Ctrl-C wait until the step at work is done; a second one interrupts at once.

    A step that is cut in its middle leaves weights that no other run would have. Handlers of a
    process belong to its main thread; in others nothing is changed.
    """
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def wait(number: int, frame: FrameType | None) -> None:
        asked.asked = True
        signal.signal(signal.SIGINT, before)

    if not callable(before):  # Ctrl-C is ignored, as under nohup
        yield asked
        return
    signal.signal(signal.SIGINT, wait)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def save(training: Training, path: Path) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        InputError: the loss is no longer finite: then the checkpoint before stays.
    """
    training.losses.read()
    best, device = training.best, training.compute.device
    state = {
        "student": training.student.state_dict(),
        "objective": training.method.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "scaler": training.scaler.state_dict(),
        "random": torch.get_rng_state(),
        "random_on_gpu": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "done": training.done,
        "sums": training.losses.sums,
        "log": json.dumps([to_line(ended) for ended in training.log]),
        "best": {"quality": best.quality, "epoch": best.epoch, "state": best.state},
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def save_best(training: Training, folder: Path) -> None:
    """Write the best student so far, whole or not at all."""
    state = {key: value.contiguous() for key, value in training.best.state.items()}
    with replacing(folder / BEST_STUDENT) as temporary:
        save_file(state, temporary)


def load(training: Training, path: Path) -> None:
    """Bring a training to where `save` left it, torch's random generator included.

    It may have been saved by another number of processes. The first one has saved its generator;
    the others begin with new ones.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    training.student.load_state_dict(state["student"])
    training.method.load_state_dict(state["objective"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.scaler.load_state_dict(state["scaler"])
    if training.group.is_first:
        torch.set_rng_state(state["random"].cpu())
        on_gpu = state.get("random_on_gpu")  # of older checkpoints, and of a CPU's, there is none
        if on_gpu is not None and training.compute.device.type == "cuda":
            torch.cuda.set_rng_state(on_gpu.cpu(), training.compute.device)
    else:
        torch.manual_seed(
            training.spec.seed + state["done"] * training.group.size + training.group.rank
        )
    training.done, training.losses.sums = state["done"], state["sums"]
    training.best = Best(**state["best"])
    lines = json.loads(state["log"])
    training.log = [from_line(line, path, epochs=training.schedule.epochs) for line in lines]
