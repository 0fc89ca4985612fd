"""Students as files of LiteRT: converted by litert-torch where it is installed (it is not in the
constraints, whose torch is newer than it allows), and every answer compared."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from export.litert import convert, precision
from export.onnx_file import Deployed
from runtime.backends.base import Outputs, SessionOptions
from runtime.backends.litert import operators
from runtime.backends.litert.session import LiteRtSession
from runtime.errors import FileNotMadeError, MissingDependencyError
from runtime.evaluation.parity import compare

SIDE = 32
ONE = SessionOptions(threads=1)

needs_converter = pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None, reason="litert-torch is not installed"
)


@pytest.fixture(scope="module")
def converted(networks, tmp_path_factory):
    """`converted(family)`: the student in float32, made once."""
    folder, made = tmp_path_factory.mktemp("converted"), {}

    def get(family):
        if family not in made:
            made[family] = convert.convert(networks(family), SIDE, folder / f"{family}.tflite")
        return made[family]

    return get


@needs_converter
@pytest.mark.parametrize(
    "family", ["mobilenetv3", "mobilenetv4", "efficientnet_lite", "convnext", "vit"]
)
def test_a_student_of_each_family_answers_as_it_does_in_torch(converted, family, capfd):
    source = converted(family)
    session = LiteRtSession(source.path, ONE)
    assert session.precision == "fp32"
    assert session.proof.types == {"float32": 1.0}
    given = source.reference
    assert compare(session.run(given.images), given.answers).cosine_min > 0.99999
    assert capfd.readouterr().out == ""  # `--json` has stdout for itself


@needs_converter
@pytest.mark.parametrize("family", ["mobilenetv3", "vit"])
def test_half_precision_is_in_the_weights(converted, tmp_path, family):
    source, path = converted(family), tmp_path / "student.fp16.tflite"
    precision.fp16(source, path)
    session = LiteRtSession(path, ONE)
    assert session.precision == "fp16"
    assert operators.read(path).kept["float16"] > 0
    assert path.stat().st_size < 0.65 * source.path.stat().st_size
    given = source.reference
    assert compare(session.run(given.images), given.answers).cosine_min > 0.999


@needs_converter
@pytest.mark.parametrize(("family", "whole"), [("mobilenetv4", "all"), ("vit", "with weights")])
def test_int8_is_computed_in_and_the_probe_is_left_out(converted, tmp_path, images, family, whole):
    source, path = converted(family), tmp_path / "student.int8.tflite"
    tried = precision.int8(source, path, images[:16], images[32:40])
    assert tried[0].operators == whole
    assert tried[0].error < 0.05
    session = LiteRtSession(path, ONE)
    assert session.precision == "int8"
    assert session.proof.types["int8"] > 0.9
    assert session.proof.types["float32"] > 0  # embedding and probe
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    answers = session.run(images[32:40])
    assert answers.logits[:, 2] == pytest.approx(-1e4, abs=5)  # a class without a label


@needs_converter
def test_a_student_without_a_probe_has_no_logits(networks, tmp_path):
    module = Deployed(networks("mobilenetv3").student, None)
    source = convert.convert(module, SIDE, tmp_path / "student.tflite")
    assert LiteRtSession(source.path, ONE).run(source.reference.images).logits is None


class Growing(torch.nn.Module):
    """A network whose answer has another size for each image."""

    def forward(self, images):
        return images[images > 0][None]


@needs_converter
def test_what_cannot_be_converted_is_told(tmp_path):
    with pytest.raises(FileNotMadeError, match="litert-torch refused: "):
        convert.convert(Deployed(Growing(), None), SIDE, tmp_path / "student.tflite")
    assert not list(tmp_path.iterdir())


@needs_converter
def test_what_the_converter_made_is_read_back(converted, tmp_path):
    source = converted("mobilenetv3")
    answers = source.reference.answers
    other = np.roll(answers.embedding, 1, axis=1)
    wrong = replace(source.reference, answers=Outputs(other, answers.logits))
    with pytest.raises(FileNotMadeError, match="it answers other than the student"):
        convert.require_delivered(source.path, "fp32", wrong)
    with pytest.raises(FileNotMadeError, match="a file in fp32 was made, not in int8"):
        convert.require_delivered(source.path, "int8", source.reference)
    source.path.write_bytes(source.path.read_bytes()[:500])
    with pytest.raises(FileNotMadeError, match="LiteRT does not run what was made"):
        convert.require_delivered(source.path, "fp32", source.reference)


def test_without_the_converter_the_way_to_install_it_is_told(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "litert_torch" else find(name)
    )
    with pytest.raises(MissingDependencyError, match=r"edge-compressor\[litert-export\]"):
        convert.require_tools()
