"""How a process joins the group that a launcher has started it in."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from compressor.distributed.group import ALONE, PATIENCE, Group
from runtime.errors import InputError, MissingDependencyError

LAUNCHED = "EDGE_COMPRESSOR_PROCESSES"
"""The variable that tells a process that `launch` has started it, and tells of its end."""
LOST = 75
"""Exit code of a process that ends because another one has."""


def announced() -> int:
    """Return how many processes torchrun or accelerate has started; 1 without them.

    Raises:
        InputError: WORLD_SIZE is no number.
    """
    found = os.environ.get("WORLD_SIZE", "1")
    if not found.isdecimal():
        raise InputError(f"WORLD_SIZE is {found!r}; torchrun sets it to a number of processes")
    return max(1, int(found))


def join() -> Group:
    """Join the group that torchrun or accelerate has started this process in.

    Tensors on a CPU travel by gloo, those on a GPU by NCCL; each process of a machine takes the
    GPU of its own number.

    Raises:
        InputError: what the launcher says of this process is incomplete.
        MissingDependencyError: this machine has fewer GPUs than processes.
    """
    if announced() == 1:
        return ALONE
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    lacking = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if lacking:
        raise InputError(
            f"WORLD_SIZE is {announced()}, but {', '.join(lacking)} is not set; start the "
            "processes with --processes, torchrun or accelerate launch"
        )
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    backend = "gloo"
    if torch.cuda.is_available():
        require_gpus(local_size)
        torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(rendezvous("env://"))
    store.set_timeout(PATIENCE)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    if LAUNCHED in os.environ:
        _end_with_the_launcher()
    own = PrefixStore("edge-compressor", store)
    return Group(rank, size, local_rank, local_size, own)


def _end_with_the_launcher() -> None:
    """Let this process be told to stop when the one that started it is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def require_gpus(processes: int) -> None:
    """Refuse more processes on this machine than it has GPUs.

    Raises:
        MissingDependencyError: says how many there are.
    """
    import torch

    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise MissingDependencyError(
            f"{processes} processes and {gpus} GPU{'s' if gpus > 1 else ''} on this machine: each "
            f"process needs one of its own. Start {gpus}, or hide the GPUs (CUDA_VISIBLE_DEVICES=)."
        )
