"""Students as networks of ncnn: converted by pnnx for real, and every answer compared."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from export.ncnn import convert
from export.ncnn.attention import separate
from export.onnx_file import Deployed
from runtime.backends.base import Outputs, SessionOptions
from runtime.backends.ncnn import network
from runtime.backends.ncnn.session import NcnnSession
from runtime.backends.registry import open_session
from runtime.errors import FileNotMadeError, MissingDependencyError
from runtime.evaluation.parity import compare

SIDE = 32


@pytest.fixture(scope="module")
def traced(networks, tmp_path_factory):
    """`traced(family)`: the student as TorchScript, made once."""
    folder, made = tmp_path_factory.mktemp("traced"), {}

    def get(family):
        if family not in made:
            made[family] = convert.trace(networks(family), SIDE, folder / f"{family}.pt")
        return made[family]

    return get


@pytest.mark.parametrize(
    "family", ["mobilenetv3", "mobilenetv4", "efficientnet_lite", "convnext", "vit"]
)
def test_a_student_of_each_family_answers_as_it_does_in_torch(traced, tmp_path, family):
    path, source = tmp_path / "student.fp32.ncnn.param", traced(family)
    convert.make(source, path, "fp32")
    found = network.read(path)
    assert sorted(found.ends) == ["embedding", "logits"]
    assert [layer.outputs for layer in found.starts] == [("images",)]
    session = NcnnSession(path, SessionOptions(threads=1))
    assert session.precision == "fp32"
    assert session.proof.types == {"f32": 1.0}
    assert (
        compare(session.run(source.reference.images), source.reference.answers).cosine_min > 0.99999
    )


@pytest.mark.parametrize("family", ["mobilenetv3", "vit"])
def test_half_precision_is_in_the_weights(traced, tmp_path, family):
    sizes, source = {}, traced(family)
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"student.{precision}.ncnn.param"
        convert.make(source, path, precision)
        session = NcnnSession(path, SessionOptions(threads=1))
        assert session.precision == precision
        sizes[precision] = path.with_suffix(".bin").stat().st_size
    assert sizes["fp16"] < 0.55 * sizes["fp32"]
    assert (
        compare(session.run(source.reference.images), source.reference.answers).cosine_min > 0.9999
    )


def test_a_student_without_a_probe_has_no_logits(networks, tmp_path):
    module = Deployed(networks("mobilenetv3").student, None)
    source = convert.trace(module, SIDE, tmp_path / "student.pt")
    convert.make(source, tmp_path / "student.param", "fp32")
    found = open_session(tmp_path / "student.param", provider="cpu").run(source.reference.images)
    assert found.logits is None
    assert found.embedding == pytest.approx(source.reference.answers.embedding, abs=1e-5)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_in_three_layers_has_the_answers_of_attention_in_one(qk_norm):
    from timm.models.vision_transformer import Attention  # type: ignore[attr-defined]

    torch.manual_seed(0)
    layer = Attention(
        24, num_heads=3, qkv_bias=True, qk_norm=qk_norm, norm_layer=torch.nn.LayerNorm
    )
    network, tokens = torch.nn.Sequential(layer).eval(), torch.randn(2, 5, 24)
    with torch.inference_mode():
        expected = network(tokens)
        separate(network)
        assert not isinstance(network[0], Attention)
        assert torch.allclose(network(tokens), expected, atol=1e-6)


class Sorting(torch.nn.Module):
    """ncnn has no sorting."""

    def forward(self, images):
        return torch.sort(images.mean(dim=(2, 3)), dim=1).values


class Deciding(torch.nn.Module):
    """A network whose way depends on the image cannot be traced to one graph."""

    def forward(self, images):
        return images.nonexistent()


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (Sorting(), r"ncnn does not have these operators of it: .*aten::sort \(1\)"),
        (Deciding(), "it gives no answer: AttributeError"),
    ],
)
def test_what_cannot_be_converted_is_told_by_name(tmp_path, student, said):
    with pytest.raises(FileNotMadeError, match=said):
        source = convert.trace(Deployed(student, None), SIDE, tmp_path / "student.pt")
        convert.make(source, tmp_path / "student.param", "fp32")


# --- a converter that does something else than it was told -------------------------------------


def change_param(monkeypatch, old, new):
    run = convert._converted

    def changed(*given):
        param, content = run(*given)
        text = param.read_text()
        assert old in text
        param.write_text(text.replace(old, new))
        return param, content

    monkeypatch.setattr(convert, "_converted", changed)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (" out1 ", " probabilities ", r"the outputs \['out0', 'probabilities'\]; the student"),
        ("Normalize ", "L2Norm ", r"does not have these operators of it: L2Norm \(1\)"),
        ("7767517", "7767518", "pnnx made no network of ncnn"),
        ("2=1.000000e-12", "2=1.000000e-12 77", "pnnx made no network of ncnn"),
    ],
)
def test_what_pnnx_made_is_read_back(monkeypatch, traced, tmp_path, old, new, said):
    change_param(monkeypatch, old, new)
    with pytest.raises(FileNotMadeError, match=said):
        convert.make(traced("mobilenetv3"), tmp_path / "student.param", "fp32")


def replaced(source, answers):
    return replace(source, reference=replace(source.reference, answers=answers))


def test_other_answers_than_the_students_are_refused(traced, tmp_path):
    source = traced("mobilenetv3")
    other = np.roll(source.reference.answers.embedding, 1, axis=1)
    wrong = replaced(source, Outputs(other, source.reference.answers.logits))
    with pytest.raises(FileNotMadeError, match="it answers other than the student"):
        convert.make(wrong, tmp_path / "student.param", "fp32")
    fewer = replaced(source, Outputs(other[:, 1:], source.reference.answers.logits))
    with pytest.raises(FileNotMadeError, match=r"ncnn answers .*, the student"):
        convert.make(fewer, tmp_path / "student.param", "fp32")


def test_a_precision_that_pnnx_does_not_deliver_is_refused(monkeypatch, traced, tmp_path):
    run = convert._converted
    monkeypatch.setattr(
        convert, "_converted", lambda source, folder, _: run(source, folder, "fp32")
    )
    with pytest.raises(FileNotMadeError, match="weights in fp32 were made, not in fp16"):
        convert.make(traced("mobilenetv3"), tmp_path / "student.param", "fp16")


def test_without_pnnx_the_way_to_install_it_is_told(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pnnx" else find(name)
    )
    with pytest.raises(MissingDependencyError, match=r"edge-compressor\[ncnn-export\]"):
        convert.require_tools()


def test_threads_are_as_ordered(traced, tmp_path):
    from runtime.backends.ncnn.backend import Ncnn

    convert.make(traced("mobilenetv3"), tmp_path / "student.param", "fp32")
    one, two = (Ncnn().open(tmp_path / "student.param", SessionOptions(threads=n)) for n in (1, 2))
    images = traced("mobilenetv3").reference.images
    assert one.run(images).embedding == pytest.approx(two.run(images).embedding, abs=1e-5)
