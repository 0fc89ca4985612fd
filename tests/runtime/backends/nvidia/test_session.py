"""Engines over the stand-in: right answers of any size, from any thread, after any failure."""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.backends.nvidia.graphs import GRAPH_AFTER, MOST_GRAPHS
from runtime.errors import InputError, MissingDependencyError
from stand_in_cuda import GAP_MS, KERNEL_MS, Error, nothing_left
from stand_in_gpu import images, is_right, opened
from stand_in_tensorrt import answer


@pytest.fixture
def session(machine, make_engine):
    return opened(make_engine())


# --- any number of images -------------------------------------------------------------------


@settings(
    deadline=None, max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_any_sizes_in_any_order_are_answered_as_they_are(machine, make_engine, sizes):
    session = opened(make_engine())
    for number, size in enumerate(sizes):
        assert is_right(session, size, number)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9, 17])
def test_batches_below_the_smallest_are_filled_up(machine, make_engine, count):
    session = opened(make_engine(least=4, most=8))
    assert session.run(images(count)).embedding.shape == (count, 6)
    for seed in range(5):
        assert is_right(session, count, seed)


def test_an_engine_that_takes_pixels(machine, make_engine):
    session = opened(make_engine(input="u", classes=0))
    pixels = np.random.default_rng(0).integers(0, 255, (9, 4, 4, 3), np.uint8)
    got = session.run(pixels)
    assert session.takes == "uint8"
    assert np.array_equal(got.embedding, answer(pixels))
    assert got.logits is None


@pytest.mark.parametrize("wrong", [images(2).astype(np.float64), images(2)[..., :3], images(2)[0]])
def test_images_of_another_shape_or_type_are_refused(session, wrong):
    with pytest.raises(ValueError, match="wanted float32"):
        session.run(wrong)


# --- graphs ---------------------------------------------------------------------------------


def test_sizes_that_come_again_are_replayed_each_from_its_own_context(machine, session):
    """The stand-in's kernel takes as many images as its context has at that moment."""
    for turn in range(6):
        for size in (8, 1, 3, 1):
            assert is_right(session, size, turn)
    assert len(machine.trt.contexts) == 1 + 3
    assert machine.cuda.calls.count("cudaGraphLaunch") > 10


def test_only_so_many_sizes_are_captured(machine, session):
    for turn in range(GRAPH_AFTER + 1):
        for size in range(1, 9):
            assert is_right(session, size, turn)
    assert len(machine.trt.contexts) == 1 + MOST_GRAPHS


FAILURES = {
    "the engine cannot be captured": lambda machine: None,
    "no memory for one more context": lambda m: setattr(m.trt, "most_contexts", 1),
    "the capture does not begin": lambda m: m.cuda.fail("cudaStreamBeginCapture"),
    "the capture does not end": lambda m: m.cuda.fail("cudaStreamEndCapture"),
    "the graph is not made": lambda m: m.cuda.fail("cudaGraphInstantiate"),
    "a copy is refused before": lambda m: m.cuda.fail("cudaMemcpyAsync", after=9, times=1),
    "a copy is refused within": lambda m: m.cuda.fail("cudaMemcpyAsync", after=12, times=1),
}


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_capture_costs_the_graph_and_nothing_else(machine, make_engine, failure, flavour):
    machine.rtx.most_contexts = 10**9
    path = make_engine(flavour, captures=failure != "the engine cannot be captured")
    with nothing_left(machine.cuda):
        session = opened(path)
        FAILURES[failure](machine)
        if flavour == "tensorrt-rtx":
            machine.rtx.most_contexts = machine.trt.most_contexts
        for turn in range(9):
            assert is_right(session, 2, turn)
        assert "cudaGraphLaunch" not in machine.cuda.calls
        tried = machine.cuda.calls.count("cudaStreamBeginCapture")
        assert tried <= 1  # a size that cannot be captured is not tried again
        machine.cuda.mend()
        machine.trt.most_contexts = machine.rtx.most_contexts = 10**9
        for turn in range(9):
            assert is_right(session, 3, turn)
        session.close()
    assert len(machine.trt.contexts) == len(machine.rtx.contexts) == 0


def test_an_engine_that_says_that_it_cannot_be_captured_is_not_tried(machine, make_engine):
    session = opened(make_engine("tensorrt-rtx", captures=False))
    for turn in range(6):
        assert is_right(session, 2, turn)
    assert session.device_ms(images(2), 2).as_graph is False
    assert "cudaStreamBeginCapture" not in machine.cuda.calls


def test_work_of_another_thread_on_the_default_stream_breaks_no_capture(machine, session):
    machine.cuda.default_stream_is_busy = True
    for turn in range(6):
        assert is_right(session, 2, turn)
    assert "cudaGraphLaunch" in machine.cuda.calls


@pytest.mark.parametrize(("graph_s", "launches_s", "pay"), [(1.0, 2.0, True), (2.0, 1.0, False)])
def test_graphs_are_used_where_they_pay_size_by_size(machine, session, graph_s, launches_s, pay):
    """A clock that shows how long each turn took: with a graph and without, by turns."""
    warm_up = [0.0] * 2 * GRAPH_AFTER

    def clock(first, second):
        readings = iter(warm_up + [0.0, first, 0.0, second] * 5)
        return lambda: next(readings)

    assert session.graphs_pay(images(1), runs=5, clock=clock(graph_s, launches_s)) is pay
    assert session.graphs_pay(images(2), runs=5, clock=clock(1.0, 2.0)) is True
    machine.cuda.calls.clear()
    assert is_right(session, 1)
    assert ("cudaGraphLaunch" in machine.cuda.calls) is pay
    assert is_right(session, 2)
    assert "cudaGraphLaunch" in machine.cuda.calls


def test_graphs_do_not_pay_where_nothing_can_be_captured(machine, make_engine):
    session = opened(make_engine(captures=False))
    assert session.graphs_pay(images(20), runs=3) is False
    assert is_right(session, 20)


# --- time on the device ---------------------------------------------------------------------


def test_the_time_of_an_inference_has_no_gaps_between_launches(session):
    timed = session.device_ms(images(4), 5)
    assert (timed.ms, timed.as_graph) == ((KERNEL_MS,) * 5, True)


def test_without_a_graph_it_is_the_mean_of_ten_with_their_gaps_and_says_so(machine, make_engine):
    session = opened(make_engine(captures=False))
    timed = session.device_ms(images(4), 5)
    assert timed.ms == pytest.approx([KERNEL_MS + GAP_MS] * 5)
    assert timed.as_graph is False


def test_the_time_of_more_images_than_a_batch_is_that_of_all_parts(session):
    timed = session.device_ms(images(17), 2)
    assert timed.ms == pytest.approx([3 * (KERNEL_MS + GAP_MS)] * 2)


def test_timing_leaves_nothing_behind_and_the_session_right(machine, session):
    assert is_right(session, 2)
    with nothing_left(machine.cuda):
        session.device_ms(images(3), 2)
        machine.cuda.fail("cudaEventElapsedTime")
        assert is_right(session, 2)


@pytest.fixture
def restless():
    """Threads take turns after almost every step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_threads_and_timing_at_once(machine, make_engine):
    """One image is timed while up to nine are answered: a context has one size at a time."""
    session = opened(make_engine())
    wrong = []

    def ask(seed):
        wrong.extend(n for n in range(150) if not is_right(session, 1 + (seed + n) % 9, n))

    def measure():
        for _ in range(60):
            session.device_ms(images(1, 99), 2)
            session.graphs_pay(images(2, 98), runs=1)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    threads.append(threading.Thread(target=measure))
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


# --- refusals -------------------------------------------------------------------------------


def test_a_refused_shape_or_address_is_an_error_and_no_answer(machine, session):
    assert is_right(session, 2)
    machine.trt.refused_batches = {3}
    with pytest.raises(InputError, match=r"refuses a batch of 3, .*\. Build the engine again"):
        session.run(images(3))
    machine.trt.refused_tensors = {"logits"}
    with pytest.raises(InputError, match="TensorRT refuses `logits`"):
        session.run(images(4))
    machine.trt.refused_batches, machine.trt.refused_tensors = set(), set()
    assert is_right(session, 3)


def test_an_inference_that_does_not_start_is_told_and_the_next_one_runs(machine, session):
    machine.trt.fails = True
    with pytest.raises(MissingDependencyError, match="could not start the engine") as caught:
        session.run(images(2))
    assert caught.value.exit_code == 3
    machine.trt.fails = False
    assert is_right(session, 2)


def test_a_failing_gpu_is_told_in_its_words(machine, session):
    machine.cuda.fail("cudaStreamSynchronize", Error.cudaErrorIllegalAddress, times=1)
    with pytest.raises(MissingDependencyError, match="CUDA: cudaErrorIllegalAddress"):
        session.run(images(2))
    assert is_right(session, 2)


def test_an_engine_that_tensorrt_refuses(machine, make_engine):
    path = make_engine()
    machine.trt.Runtime = lambda logger: SimpleNamespace(
        deserialize_cuda_engine=lambda bytes_: None
    )
    with pytest.raises(InputError, match=r"refused to deserialise it, .*\n  Build it again"):
        opened(path)
    machine.trt.__version__ = "10.12.0"
    with pytest.raises(InputError, match=r"built with tensorrt 10\.3\.0, here is 10\.12\.0"):
        opened(path)
