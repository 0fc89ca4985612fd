"""Starts the processes of a run on this machine, by torchrun's engine, and tells how they end."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from compressor.distributed.joining import LAUNCHED, LOST, require_gpus
from runtime.errors import MissingDependencyError

_ENDING_S = 600
"""How long processes may take to end when the user stops a run: a last bundle may be made."""


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in several processes that know of each other, and wait for them.

    Args:
        command: a program and its arguments.
        processes: how many.

    Returns:
        The exit code: 0, the one of a process that has said itself what is wrong, or 128 and the
        number of the signal that stopped this one.

    Raises:
        MissingDependencyError: a process was killed, or there are fewer GPUs than processes.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    require_gpus(processes)
    os.environ[LAUNCHED] = str(processes)
    for name in list(logging.root.manager.loggerDict):  # each has a level of its own
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    program, *arguments = command
    more: dict[str, Any] = {}
    if "shutdown_timeout" in inspect.signature(LaunchConfig).parameters:
        more["shutdown_timeout"] = _ENDING_S
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
            **more,
        )
        try:
            elastic_launch(config, program)(*arguments)
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            return outcome(codes, processes)
        except SignalException as error:
            return 128 + error.sigval
    return 0


def outcome(codes: Mapping[int, int], processes: int) -> int:
    """Return the exit code of a run whose processes have failed with these.

    Args:
        codes: by rank; negative: the number of the signal that has killed it. The launcher ends
            those that are left with SIGTERM, when one has failed.
        processes: how many there were.

    Raises:
        MissingDependencyError: one was killed by another signal; says which, and by what.
    """
    for rank, code in sorted(codes.items()):
        if code < 0 and code != -signal.SIGTERM:
            name = signal.Signals(-code).name
            why = (
                " Linux does so to the largest process when memory is out (dmesg): fewer "
                "processes, a smaller distill.batch or distill.workers take less."
                if name == "SIGKILL"
                else ""
            )
            raise MissingDependencyError(
                f"rank {rank} of {processes} processes was killed by {name}.{why}\n  What was "
                "finished is kept: the same command continues, also with another --processes."
            )
    ended = [rank for rank, code in codes.items() if code == -signal.SIGTERM]
    if not set(codes.values()) - {LOST, -signal.SIGTERM} and LOST in codes.values():
        why = f"rank {ended[0]} was told to stop" if ended else "they could not reach each other"
        raise MissingDependencyError(
            f"the {processes} processes have lost each other: {why}.\n  What was finished is kept: "
            "the same command continues, also with another --processes."
        )
    own = [code for _, code in sorted(codes.items()) if code not in (LOST, -signal.SIGTERM)]
    told = [code for code in own if code != 128 + signal.SIGTERM]
    return (told or own or [128 + signal.SIGTERM])[0]
