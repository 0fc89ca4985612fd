"""A training on disk: written whole, read to continue with the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from compressor.distillation.epochs import Best, from_line, to_line
from compressor.distillation.training import Training
from runtime.files import replacing


def save(training: Training, path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    best = training.best
    state = {
        "student": training.student.state_dict(),
        "objective": training.method.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "scaler": training.scaler.state_dict(),
        "random": torch.get_rng_state(),
        "done": training.done,
        "sums": training.sums,
        "log": json.dumps([to_line(ended) for ended in training.log]),
        "best": {"quality": best.quality, "epoch": best.epoch, "state": best.state},
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load(training: Training, path: Path) -> None:
    """Bring a training to where `save` left it, torch's random generator included."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    training.student.load_state_dict(state["student"])
    training.method.load_state_dict(state["objective"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["random"].cpu())
    training.done, training.sums = state["done"], state["sums"]
    training.best = Best(**state["best"])
    lines = json.loads(state["log"])
    training.log = [from_line(line, path, epochs=training.schedule.epochs) for line in lines]
