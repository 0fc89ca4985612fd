"""The processes that work on one run together, joined by torch.distributed; one alone is a group.

Every process calls the same method at the same place. A process that is alone gets back what it
gives, bit for bit, so that the code which calls has one path.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from runtime.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a process waits in the middle of work for one that neither answers nor ends."""
_LOST = ("Connection closed by peer", "Connection reset by peer", "gloo/", "NCCL", "Broken pipe")
"""Words of the errors that a backend raises when another process is gone."""


_LISTENING_S = 0.05


class LostProcessError(MissingDependencyError):
    """Another process of the group has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    """Of this process, from 0. Number 0 alone writes files and speaks to the user."""
    size: int = 1
    local_rank: int = 0
    """Number of this process on its machine, which is also that of its GPU."""
    local_size: int = 1
    """Processes on this machine."""
    store: Store | None = field(default=None, compare=False)
    """Where the processes leave short messages; None for a process that is alone."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """How messages call this process."""
        return f"rank {self.rank} of {self.size} processes"

    # --- dividing, which asks nobody ----------------------------------------------------------

    def dealt(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items of this process, as cards are dealt: one to each, again and again."""
        return items if self.size == 1 else items[self.rank :: self.size]

    def cut(self, items: Sequence[T]) -> Sequence[T]:
        """Return the part of one batch that is this process's: parts of nearly equal size."""
        if self.size == 1:
            return items
        each, more = divmod(len(items), self.size)
        start = self.rank * each + min(self.rank, more)
        return items[start : start + each + (self.rank < more)]

    # --- together -----------------------------------------------------------------------------

    def collected(self, own: Sequence[T]) -> list[T]:
        """Return what all processes made of their `dealt` items, in the order of all items."""
        if self.size == 1:
            return list(own)
        import torch.distributed as dist

        everyone: list[Sequence[T]] = [()] * self.size
        with told_of_lost_processes():
            dist.all_gather_object(everyone, own)
        count = sum(map(len, everyone))
        return [everyone[at % self.size][at // self.size] for at in range(count)]

    def streamed(self, own: Iterable[T], count: int) -> Iterator[T]:
        """Bring what all processes make of their `dealt` items to the first, a round at a time.

        Args:
            own: what this process makes of its items, made one after the other.
            count: of all items.

        Yields:
            The items of all processes in their order, to the first process; to others nothing.
        """
        if self.size == 1:
            yield from own
            return
        import torch.distributed as dist

        making = iter(own)
        for start in range(0, count, self.size):
            made = [next(making)] if start + self.rank < count else []
            everyone: list[list[T]] | None = [[]] * self.size if self.is_first else None
            with told_of_lost_processes():
                dist.gather_object(made, everyone, dst=0)
            for each in everyone or ():
                yield from each

    def of_first(self, value: T) -> T:
        """Return the value that the first process gives."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value if self.is_first else None]
        with told_of_lost_processes():
            dist.broadcast_object_list(box, src=0)
        return cast("T", box[0])

    def sum_in_place(self, tensors: Iterable[Tensor]) -> None:
        """Let each tensor become the sum of those of all processes."""
        if self.size == 1:
            return
        import torch.distributed as dist

        with told_of_lost_processes():
            for tensor in tensors:
                dist.all_reduce(tensor)

    def mean_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Let the gradients of parameters become their mean over all processes."""
        if self.size == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        self.sum_in_place(gradients)
        for gradient in gradients:
            gradient /= self.size

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Let each tensor become a copy of the first process's."""
        if self.size == 1:
            return
        import torch.distributed as dist

        with told_of_lost_processes():
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def joined(self, part: Tensor, whole: int) -> Tensor:
        """Return the rows of all processes in one tensor, without a gradient.

        Args:
            part: [b, ...], the rows that `cut` gives this process of a batch.
            whole: B, rows of the batch.

        Returns:
            [B, ...], in the order of the batch.
        """
        if self.size == 1:
            return part
        import torch
        import torch.distributed as dist

        most = -(-whole // self.size)
        own = part.new_zeros((most, *part.shape[1:]))
        own[: len(part)] = part.detach()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        with told_of_lost_processes():
            dist.all_gather(parts, own)
        each, more = divmod(whole, self.size)
        return torch.cat([rows[: each + (at < more)] for at, rows in enumerate(parts)])

    def replicated(self, module: nn.Module) -> nn.Module:
        """Return a module whose `backward` leaves the mean gradient of all processes.

        Args:
            module: on this process's device; it takes the first process's weights. Its buffers are
                its own: statistics of batch norms are the same in all processes.
        """
        if self.size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        known = inspect.signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        devices = [self.local_rank] if next(module.parameters()).is_cuda else None
        own_buffers: dict[str, Any] = {buffers: False}
        with told_of_lost_processes():
            return DistributedDataParallel(module, device_ids=devices, **own_buffers)

    # --- calling ------------------------------------------------------------------------------

    def call(self, word: str) -> None:
        """Send the others a word, as the first process."""
        if self.store is not None:
            with told_of_lost_processes():
                self.store.set(f"word{self.store.add('said', 1)}", word)

    def called(self) -> str:
        """Wait, however long it takes, for the next word of the first process."""
        assert self.store is not None
        number = self.store.add(f"heard{self.rank}", 1)
        with told_of_lost_processes():
            while not self.store.check([f"word{number}"]):  # `wait` warns of every second
                time.sleep(_LISTENING_S)
            return self.store.get(f"word{number}").decode()

    def leave(self) -> None:
        """End the group; every process calls it."""
        import torch.distributed as dist

        with told_of_lost_processes():
            dist.barrier()
        dist.destroy_process_group()


ALONE = Group()
_current = ALONE


def current() -> Group:
    """Return the group that this process works in now."""
    return _current


def be(group: Group) -> None:
    """Let this process work in a group from now on; ALONE ends that."""
    global _current
    _current = group


@contextmanager
def told_of_lost_processes() -> Iterator[None]:
    """Say in words when the other processes can no longer be reached.

    Raises:
        LostProcessError: one of them has ended.
    """
    try:
        yield
    except RuntimeError as error:
        known = type(error).__name__ in ("DistNetworkError", "DistBackendError")
        if not known and not any(words in str(error) for words in _LOST):
            raise
        raise LostProcessError(
            "another process of this run has ended in the middle of the work: it was killed, or "
            "its own message stands above.\n  What was finished is kept: the same command "
            "continues, also with another number of processes."
        ) from error
