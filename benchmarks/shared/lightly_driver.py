"""Trains a timm student with LightlyTrain; run by `against_lightly_train.py` in its environment.

    python lightly_driver.py SETTINGS.json

This file needs nothing of this project: LightlyTrain (AGPL) stays in an environment of its own.
SETTINGS has `images` (a folder), `teacher` and `student` (each `model`, `args` and `weights`, a
safetensors file or null), `student_out`, `work`, `epochs` and `mean`, `std`. Writes the student's
weights to `student_out`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightly_train  # type: ignore[import-not-found]
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

BATCH = 32


class Student(nn.Module):
    """A timm network as LightlyTrain's custom model: its last map and that map's mean.

    Given a timm EfficientNet itself, LightlyTrain 0.18 expects 1,280 channels and gets 320.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def feature_dim(self) -> int:
        """Channels of the map."""
        return int(self.network.num_features)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Return the map, [B, C, H, W]."""
        return {"features": self.network.forward_features(x)}  # type: ignore[operator]

    def forward_pool(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return its mean, [B, C, 1, 1]."""
        return {"pooled_features": x["features"].mean(dim=(2, 3), keepdim=True)}

    def get_model(self) -> nn.Module:
        """Return what is exported."""
        return self.network


def network_of(section: dict[str, Any]) -> nn.Module:
    """Make a timm network with the weights of a section."""
    network = timm.create_model(section["model"], **section["args"])
    if section["weights"] is not None:
        network.load_state_dict(load_file(section["weights"]))
    return network


def main() -> None:
    """Train, and write the weights."""
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    student = network_of(wanted["student"])
    teacher_weights = Path(wanted["work"]) / "teacher.pt"
    torch.save(network_of(wanted["teacher"]).state_dict(), teacher_weights)
    lightly_train.pretrain(
        out=Path(wanted["work"]) / "out",
        data=wanted["images"],
        model=Student(student),
        method=wanted["method"],
        method_args={
            "teacher": f"timm/{wanted['teacher']['model']}",
            "teacher_weights": str(teacher_weights),
        },
        epochs=wanted["epochs"],
        batch_size=BATCH,
        num_workers=0,
        accelerator="cpu",
        transform_args={"normalize": {"mean": wanted["mean"], "std": wanted["std"]}},
        overwrite=True,
    )
    state = {key: value.contiguous() for key, value in student.state_dict().items()}
    save_file(state, wanted["student_out"])


if __name__ == "__main__":
    main()
