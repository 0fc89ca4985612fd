"""What a session holds on the GPU, and what TensorRT-RTX compiles, over the stand-in."""

import gc
from itertools import product

import pytest

from runtime.errors import MissingDependencyError
from stand_in_cuda import nothing_left
from stand_in_gpu import images, is_right, opened

# --- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "after"),
    [*product(["cudaMalloc", "cudaMallocHost"], range(3)), ("cudaStreamCreateWithFlags", 0)],
)
def test_a_full_memory_is_told_with_the_way_out_and_nothing_stays(
    machine, make_engine, call, after
):
    path = make_engine()
    machine.cuda.fail(call, after=after)
    with nothing_left(machine.cuda), pytest.raises(MissingDependencyError) as caught:
        opened(path)
    said = str(caught.value)
    assert "the GPU's memory is full (40.0 of 48.0 GB in use)" in said
    assert "nvidia-smi" in said
    assert "smaller `batches`" in said
    assert caught.value.exit_code == 3
    del caught
    gc.collect()
    assert len(machine.trt.contexts) == 0
    machine.cuda.mend()
    assert is_right(opened(path), 5)


def test_no_memory_for_the_first_context(machine, make_engine):
    machine.trt.most_contexts = 0
    with nothing_left(machine.cuda), pytest.raises(MissingDependencyError, match="memory is full"):
        opened(make_engine())


def test_a_dropped_session_frees_everything(machine, make_engine):
    path = make_engine()
    with nothing_left(machine.cuda):
        for _ in range(3):
            session = opened(path)
            for turn in range(5):
                assert is_right(session, 2, turn)
            del session
            gc.collect()
            assert len(machine.trt.contexts) == 0


def test_close_may_be_called_twice_and_ends_the_session(machine, make_engine):
    with nothing_left(machine.cuda):
        session = opened(make_engine())
        for turn in range(5):
            assert is_right(session, 2, turn)
        session.close()
        session.close()
        assert len(machine.trt.contexts) == 0
    with pytest.raises(ValueError, match="this session is closed"):
        session.run(images(1))


# --- TensorRT-RTX ---------------------------------------------------------------------------


def test_rtx_compiles_at_once_and_never_again(machine, make_engine):
    path = make_engine("tensorrt-rtx")
    before = sorted(each.name for each in path.parent.iterdir())
    for _ in range(2):
        session = opened(path)
        for turn in range(5):
            assert is_right(session, 2, turn)
            assert is_right(session, 5, turn)
        session.close()
    assert machine.rtx.compiled == [2, 5]
    assert "cudaGraphLaunch" in machine.cuda.calls
    assert sorted(each.name for each in path.parent.iterdir()) == before  # the bundle is sealed


@pytest.mark.parametrize("content", [b"", b"no cache", b'["v0", 2]'])
def test_kernels_of_another_version_are_compiled_anew(machine, make_engine, monkeypatch, content):
    path = make_engine("tensorrt-rtx")
    monkeypatch.setattr(
        "runtime.backends.nvidia.loaded_engine.device_cache",
        lambda name: path.with_name("compiled"),
    )
    path.with_name("compiled").write_bytes(content)
    assert is_right(opened(path), 2)
    assert path.with_name("compiled").read_bytes() == b'["v1", 2]'


def test_a_cache_that_cannot_be_written_is_said_once_and_costs_nothing(
    machine, make_engine, monkeypatch, caplog
):
    path = make_engine("tensorrt-rtx")
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(path))  # a file
    session = opened(path)
    assert is_right(session, 2)
    assert is_right(session, 3)
    assert [record.message for record in caplog.records if "compiles again" in record.message]
    assert len(caplog.records) == 1
