"""How long the teacher takes on this machine, timed as a file is, but in PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from compressor.models.encoder import Encoder, load_teacher
from compressor.recipe.schema import Teacher
from runtime.arrays import AnyArray
from runtime.backends.base import Outputs, Provider, Takes
from runtime.backends.cores import physical_cores
from runtime.benchmark.latency import Latency, Request, TimingPlan, measure_together
from runtime.benchmark.opened_files import ROTATING

_PLAN = TimingPlan(warmup_s=0.2, longest_warmup_s=2.0, max_s=1.0, longest_s=10.0)
"""It is not judged: enough runs for an interval of the p95 where a request takes under 0.17 s."""


class _Session:
    """A network that answers as an opened file does."""

    takes: Takes = "float32"

    def __init__(self, encoder: Encoder, device: str) -> None:
        self._device = torch.device(device)
        self._module = encoder.module.eval().to(self._device)

    def run(self, images: AnyArray) -> Outputs:
        """Answer one batch [B, 3, S, S]; its embedding is in host memory when this returns."""
        with torch.inference_mode():
            embedding = self._module(torch.from_numpy(images).to(self._device))
        return Outputs(embedding.float().cpu().numpy(), None)


def time_teacher(spec: Teacher, provider: Provider, threads: int | None) -> tuple[Latency, str]:
    """Time the teacher's network on one image, in float32; its weights do not matter to that.

    Args:
        spec: the recipe's `teacher:`.
        provider: of the target; with one for GPUs the teacher runs on the GPU if there is one.
        threads: CPU threads; None: one for each core, as the files have.

    Returns:
        Its latency, and what ran it, such as `PyTorch on the CPU`.
    """
    on_gpu = provider != "cpu" and torch.cuda.is_available()
    encoder = load_teacher(spec, load=False)
    session, side = _Session(encoder, "cuda" if on_gpu else "cpu"), encoder.preprocess.size_px
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, 3, side, side)).astype(np.float32) for _ in range(ROTATING)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads or physical_cores())
    try:
        (latency,) = measure_together([Request(session, images)], _PLAN)
    finally:
        torch.set_num_threads(before)
    return latency, f"PyTorch on the {'GPU' if on_gpu else 'CPU'}"
