"""Images of requests that wait at the same time are answered in one call of the network."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError
from runtime.prediction.prediction import Prediction

Pixels = npt.NDArray[np.uint8]
Answers = Callable[[Sequence[Pixels]], Sequence[Prediction | InputError]]
"""[B] of uint8 [S, S, 3] -> the answer of each, or why it has none."""


@dataclass
class Batcher:
    """Takes one image at a time and answers several at once.

    A batch begins with the first image that waits, and closes when it is full or when the first has
    waited for `wait_s`. While the network runs, the next images gather. Answers only within
    `running()`.
    """

    answers: Answers
    """Called in a thread of its own, never twice at once."""
    most: int
    """Images in a batch, at most."""
    wait_s: float
    """How long the first image of a batch waits for others."""
    on_their_way: Callable[[], float] = lambda: math.inf
    """Images that are here or will be: a batch that holds them all waits for no other."""
    batches: int = 0
    """Calls of the network so far."""
    largest: int = 0
    """The largest batch so far."""
    _waiting: asyncio.Queue[tuple[Pixels, asyncio.Future[Prediction]]] = field(
        default_factory=asyncio.Queue
    )
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="network")
    )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer as long as the context is open; who still waits at its end is told so."""
        task = asyncio.create_task(self._answer_all())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            while not self._waiting.empty():
                self._waiting.get_nowait()[1].cancel()
            self._thread.shutdown()

    async def answer(self, pixels: Pixels) -> Prediction:
        """Return the answer to one image.

        Args:
            pixels: uint8 [S, S, 3], what the network sees.

        Raises:
            InputError: the student's answer to it cannot be used.
        """
        answered: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((pixels, answered))
        return await answered

    async def _answer_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            found: Sequence[Prediction | Exception]
            try:
                images = [pixels for pixels, _ in batch]
                found = await loop.run_in_executor(self._thread, self.answers, images)
            except Exception as error:  # told to each who waits; the next batch is answered
                found = [error] * len(batch)
            self.batches += 1
            self.largest = max(self.largest, len(batch))
            for (_, answered), answer in zip(batch, found, strict=True):
                if answered.done():  # its client has gone
                    continue
                if isinstance(answer, Exception):
                    answered.set_exception(answer)
                else:
                    answered.set_result(answer)

    async def _gather(self) -> list[tuple[Pixels, asyncio.Future[Prediction]]]:
        """Wait for the next batch; an image whose client has gone is left out."""
        batch = [await self._waiting.get()]
        closes = asyncio.get_running_loop().time() + self.wait_s
        while len(batch) < self.most:
            try:
                batch.append(self._waiting.get_nowait())
                continue
            except asyncio.QueueEmpty:
                left = closes - asyncio.get_running_loop().time()
            if left <= 0 or len(batch) >= self.on_their_way():
                break
            try:
                batch.append(await asyncio.wait_for(self._waiting.get(), left))
            except asyncio.TimeoutError:
                break
        return [each for each in batch if not each[1].done()] or await self._gather()
