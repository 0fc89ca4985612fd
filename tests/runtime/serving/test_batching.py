"""Batches: full, or closed after a wait; every image has its own answer, whatever else happens."""

import asyncio
import threading

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.serving.batching import Batcher


def image(value):
    return np.full((2, 2, 3), value, np.uint8)


def values(images):
    """An "answer" that tells which image it belongs to."""
    return [int(each[0, 0, 0]) for each in images]


def answered(batcher, numbers):
    """Ask for all at once; the answers in order, an exception where there was one."""

    async def ask():
        async with batcher.running():
            asked = (batcher.answer(image(number)) for number in numbers)
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(ask())


def test_what_waits_at_the_same_time_is_answered_together_and_each_gets_its_own():
    batcher = Batcher(values, most=4, wait_s=60)
    assert answered(batcher, range(8)) == list(range(8))
    assert (batcher.batches, batcher.largest) == (2, 4)


def test_a_batch_that_holds_all_that_is_on_its_way_waits_for_no_other():
    batcher = Batcher(values, most=100, wait_s=3600, on_their_way=lambda: 2)
    assert answered(batcher, [3, 4]) == [3, 4]
    assert batcher.batches == 1


def test_a_batch_that_nobody_fills_closes_after_its_wait():
    batcher = Batcher(values, most=100, wait_s=0.01)
    assert answered(batcher, [7]) == [7]
    assert batcher.batches == 1


def test_the_next_images_gather_while_the_network_runs():
    begun, go = threading.Event(), threading.Event()

    def slow(images):
        begun.set()
        assert go.wait(60)
        return values(images)

    batcher = Batcher(slow, most=8, wait_s=0)

    async def ask():
        async with batcher.running():
            first = asyncio.create_task(batcher.answer(image(1)))
            await asyncio.to_thread(begun.wait, 60)
            later = [asyncio.create_task(batcher.answer(image(at))) for at in (2, 3, 4)]
            await asyncio.sleep(0)
            go.set()
            return await asyncio.gather(first, *later)

    assert asyncio.run(ask()) == [1, 2, 3, 4]
    assert (batcher.batches, batcher.largest) == (2, 3)


def test_one_image_without_an_answer_costs_no_other():
    def answers(images):
        return [InputError("not finite") if value == 2 else value for value in values(images)]

    found = answered(Batcher(answers, most=3, wait_s=60), [1, 2, 3])
    assert found[0] == 1
    assert isinstance(found[1], InputError)
    assert found[2] == 3


def test_a_network_that_fails_is_told_to_each_and_the_next_batch_is_answered():
    def answers(images):
        if 13 in values(images):
            raise MemoryError("no memory")
        return values(images)

    batcher = Batcher(answers, most=1, wait_s=0)
    found = answered(batcher, [13, 5])
    assert isinstance(found[0], MemoryError)
    assert found[1] == 5


def test_an_image_whose_client_has_gone_is_not_computed():
    seen = []

    def answers(images):
        seen.extend(values(images))
        return values(images)

    batcher = Batcher(answers, most=3, wait_s=60)

    async def ask():
        async with batcher.running():
            gone = asyncio.create_task(batcher.answer(image(1)))
            await asyncio.sleep(0)
            gone.cancel()
            found = await asyncio.gather(batcher.answer(image(2)), batcher.answer(image(3)))
            with pytest.raises(asyncio.CancelledError):
                await gone
            return found

    assert asyncio.run(ask()) == [2, 3]
    assert 1 not in seen
