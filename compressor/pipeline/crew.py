"""The other processes of a run: they wait until the first one calls them to a shared piece of work.

The first process runs the steps, as it would alone: it reads and writes the folder and speaks to
the user. Where a step has work to share, it calls the others. They read the same recipe and files,
call the same function, and go back to waiting.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from compressor.distributed import group as groups
from compressor.distributed.group import ALONE, Group
from compressor.pipeline.context import Run
from compressor.pipeline.storage.run_files import RunFiles
from runtime.errors import ToolError, lacking

if TYPE_CHECKING:
    from pathlib import Path

    from compressor.distillation.disk_budget import DiskPlan
    from compressor.recipe.plan import Plan

T = TypeVar("T")

_COME, _LEAVE = "come", "leave"


@dataclass(frozen=True)
class _Call:
    """What the first process sends: a function of a module, and the run that it is called with."""

    plan: Plan
    folder: Path
    disk_plan: DiskPlan | None
    """What the first process keeps on the disk, if it has asked: the others need not find it."""
    work: Callable[..., object]
    arguments: tuple[Any, ...]


def together(run: Run, work: Callable[..., T], *arguments: Any) -> T:
    """Call `work(run, *arguments)` in all processes of this run; return what it gives here.

    It runs networks with `run.shared_compute()`, and writes only as that group's first process. If
    it fails here, this process goes on alone: nobody knows how far the others are.

    Args:
        run: as its steps see it.
        work: a function of a module, so that it has a name.
        arguments: few and small; they are pickled.
    """
    group = groups.current()
    if group.size > 1:
        group.call(_COME)
        disk_plan = vars(run).get("disk_plan")
        group.of_first(_Call(run.plan, run.folder, disk_plan, work, arguments))
    try:
        with _share_of_cores(group):
            return work(run, *arguments)
    except BaseException:
        groups.be(ALONE)
        raise


@contextmanager
def led(group: Group) -> Iterator[None]:
    """Lead the other processes for the time of a run, and let them go at its end.

    Args:
        group: of this process, which is the first.
    """
    groups.be(group)
    try:
        yield
    finally:
        unbroken = groups.current().size > 1
        groups.be(ALONE)
        with suppress(groups.LostProcessError):  # they have gone before
            group.call(_LEAVE)
            if unbroken and group.size > 1:
                group.leave()


@contextmanager
def _share_of_cores(group: Group) -> Iterator[None]:
    """Let networks use this process's part of the cores; the first has all when it is alone."""
    if group.size == 1:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // group.local_size))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def follow(group: Group) -> None:
    """Share the work of the first process until it lets this one go.

    Ctrl-C is for the first process, which ends the work between two steps.

    Raises:
        LostProcessError: another process has ended.
        ToolError: what went wrong here, with the number of this process.
        RuntimeError: a bug, with the number of this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    groups.be(group)
    try:
        _work_when_called(group)
    except groups.LostProcessError:
        raise
    except Exception as error:
        known = error if isinstance(error, ToolError) else lacking(error)
        if known is None:
            raise RuntimeError(f"{group.name}: {type(error).__name__}: {error}") from error
        raise type(known)(f"{group.name}: {known}") from error
    group.leave()


def _work_when_called(group: Group) -> None:
    run: Run | None = None
    while group.called() == _COME:
        call: _Call = group.of_first(None)  # type: ignore[assignment]
        if run is None or (run.plan, run.folder) != (call.plan, call.folder):
            run = Run(call.plan, call.folder)
        if call.disk_plan is not None:
            run.disk_plan = call.disk_plan
        run.files = RunFiles(call.folder, writable=False)
        with _share_of_cores(group):
            call.work(run, *call.arguments)
