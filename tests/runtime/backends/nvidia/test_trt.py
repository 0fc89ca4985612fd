"""Engines on a GPU. None was at hand when this was written: these tests have not been run."""

import numpy as np
import pytest

from runtime.backends.base import OnDevice
from runtime.backends.nvidia import engine_manifest, gpu
from runtime.backends.nvidia.graphs import GRAPH_AFTER
from runtime.backends.registry import open_session

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu.find() is None, reason="CUDA sees no GPU here"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A student's ONNX file and an engine of it, for the GPU in this machine."""
    engine = pytest.importorskip("export.engine")
    pytest.importorskip("torch")
    from compressor.models.encoder import create_student
    from compressor.recipe.schema import Student
    from export.onnx_file import Deployed, export
    from runtime.backends.nvidia.engine_manifest import Profile
    from runtime.backends.nvidia.tensorrt_flavour import installed_version

    flavour = next((f for f in ("tensorrt", "tensorrt-rtx") if installed_version(f)), None)
    if flavour is None:
        pytest.skip("neither tensorrt nor tensorrt-rtx is installed")
    folder = tmp_path_factory.mktemp("trt")
    spec = Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16)
    export(Deployed(create_student(spec, seed=0).module, None), 32, folder / "s.onnx", {})
    order = engine.EngineSpec(flavour, "fp32", Profile(1, 1, 8))
    return folder / "s.onnx", engine.build(folder / "s.onnx", folder, order)


@pytest.fixture
def session(made):
    opened = open_session(made[1], provider="cpu")
    yield opened
    opened.close()  # type: ignore[attr-defined]


def batch(size):
    return np.random.default_rng(size).normal(size=(size, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_answers_are_those_of_the_onnx_file_launch_by_launch_and_from_a_graph(made, session, size):
    images = batch(size)
    expected = open_session(made[0], provider="cpu").run(images).embedding
    for _ in range(6):  # the last ones are replayed from a captured graph
        assert np.allclose(session.run(images).embedding, expected, atol=2e-2)


def test_answers_belong_to_the_caller(session):
    first = session.run(batch(2)).embedding
    before = first.copy()
    session.run(batch(3))
    assert np.array_equal(first, before)


def test_any_number_of_images_is_answered_and_wrong_shapes_are_refused(made, session):
    expected = open_session(made[0], provider="cpu").run(batch(37)).embedding
    assert np.allclose(session.run(batch(37)).embedding, expected, atol=2e-2)
    with pytest.raises(ValueError, match="wanted float32"):
        session.run(batch(1).astype(np.float64))


def test_time_without_transfers(session):
    assert isinstance(session, OnDevice)
    timed = session.device_ms(batch(1), 20)
    assert len(timed.ms) == 20
    assert min(timed.ms) > 0


def test_sizes_that_take_turns_are_each_replayed_from_their_own_context(made, session):
    expected = {size: open_session(made[0], provider="cpu").run(batch(size)) for size in (1, 8)}
    for size in (8, 1) * 8:
        got = session.run(batch(size)).embedding
        assert np.allclose(got, expected[size].embedding, atol=2e-2)


@pytest.mark.parametrize(("graph_s", "launches_s", "pay"), [(1.0, 2.0, True), (2.0, 1.0, False)])
def test_graphs_are_used_where_they_pay(session, graph_s, launches_s, pay):
    """A clock that shows how long each turn took: with a graph and without, by turns."""
    warm_up = [0.0] * 2 * GRAPH_AFTER
    readings = iter(warm_up + [0.0, graph_s, 0.0, launches_s] * 5)
    assert session.graphs_pay(batch(1), runs=5, clock=lambda: next(readings)) is pay
    assert np.isfinite(session.run(batch(1)).embedding).all()


def test_the_inspector_was_asked(made):
    assert engine_manifest.load(made[1]).inspected_by == "inspector"
