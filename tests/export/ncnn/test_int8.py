"""INT8 networks of ncnn: written by us, run by ncnn, computed in integers."""

import numpy as np
import pytest

from export.ncnn import convert, int8
from runtime.backends.base import SessionOptions
from runtime.backends.ncnn import network, weights
from runtime.backends.ncnn.session import NcnnSession
from runtime.errors import FileNotMadeError, InputError

SIDE = 32
ONE = SessionOptions(threads=1)


@pytest.fixture(scope="module")
def made(networks, images, tmp_path_factory):
    """A MobileNetV4 in float32 and INT8: folder, and what was tried."""
    folder = tmp_path_factory.mktemp("int8")
    source = convert.trace(networks("mobilenetv4"), SIDE, folder / "student.pt")
    convert.make(source, folder / "student.fp32.param", "fp32")
    tried = int8.make(source, folder / "student.int8.param", images[:16], images[32:48])
    return folder, tried


def test_it_answers_nearly_as_in_float32_and_computes_in_integers(made, images):
    folder, tried = made
    assert tried[0].error == min(each.error for each in tried) < 0.01
    session = NcnnSession(folder / "student.int8.param", ONE)
    assert session.precision == "int8"
    assert session.proof.types["i8"] > 0.9
    assert session.proof.types["f32"] > 0  # embedding layer and probe
    got = session.run(images[48:])
    assert got.logits[:, 2] == pytest.approx(-1e4, abs=5)  # a class without a label
    whole = NcnnSession(folder / "student.fp32.param", ONE).run(images[48:])
    cosine = (got.embedding * whole.embedding).sum(axis=1)
    cosine /= np.linalg.norm(got.embedding, axis=1) * np.linalg.norm(whole.embedding, axis=1)
    assert cosine.min() > 0.98
    assert cosine.min() < 0.999999  # it is not the float32 network
    small, large = ((folder / f"student.{each}.bin").stat().st_size for each in ("int8", "fp32"))
    assert small < 0.35 * large
    names = sorted(path.name for path in folder.iterdir() if "int8" in path.name)
    assert names == ["student.int8.bin", "student.int8.param"]


def test_integers_are_handed_on_between_convolutions_and_nowhere_else(made):
    folder, _ = made
    found = network.read(folder / "student.int8.param")
    kinds = weights.in_integers(found, folder / "student.int8.bin")
    takers = {}
    for layer in found.layers:
        for name in layer.inputs:
            takers.setdefault(name, []).append(layer)
    handed = [layer for layer in found.layers if layer.number(8) > 100]
    assert handed
    for layer in handed:
        (follower,) = takers[layer.outputs[0]]
        assert {layer.name, follower.name} <= kinds
        assert follower.kind.startswith("Convolution")


def test_a_file_in_integers_is_no_file_in_float(made):
    folder, _ = made
    with pytest.raises(InputError, match="delivered as fp32, and is a file in int8"):
        NcnnSession(folder / "student.int8.param", SessionOptions(precision="fp32"))


def test_a_transformer_has_none_and_the_reason_is_told(networks, images, tmp_path):
    source = convert.trace(networks("vit"), SIDE, tmp_path / "student.pt")
    with pytest.raises(FileNotMadeError, match=r"less than half .* are in them \(Gemm 8\d%"):
        int8.make(source, tmp_path / "student.int8.param", images[:4], images[32:36])
    assert [path.name for path in tmp_path.iterdir()] == ["student.pt"]
