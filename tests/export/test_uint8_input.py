"""A file that takes pixels against the same student with the preprocessing outside."""

import numpy as np
import onnx
import pytest

from export import precision_proof, uint8_input
from runtime.backends.base import inputs_of
from runtime.backends.registry import open_session


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("batch", [1, 5])
def test_pixels_inside_or_outside_give_the_same_answers(
    precise, pixels, preprocess, tmp_path, precision, batch
):
    source, path = precise("mobilenetv3", precision), tmp_path / "pixels.onnx"
    uint8_input.take_pixels(source, path, preprocess)
    outside, inside = (open_session(each, provider="cpu") for each in (source, path))
    assert (outside.takes, inside.takes) == ("float32", "uint8")
    expected = outside.run(inputs_of(outside, preprocess, pixels[:batch]))
    got = inside.run(inputs_of(inside, preprocess, pixels[:batch]))
    assert np.allclose(got.embedding, expected.embedding, rtol=1e-3, atol=1e-4)
    assert np.allclose(got.logits, expected.logits, rtol=1e-3, atol=1e-3)
    assert precision_proof.prove(path, precision).weights


def test_the_input_says_what_it_is(precise, preprocess, tmp_path):
    uint8_input.take_pixels(precise("vit", "fp32"), tmp_path / "p.onnx", preprocess)
    (taken,) = onnx.load(tmp_path / "p.onnx").graph.input
    kind = taken.type.tensor_type
    assert kind.elem_type == onnx.TensorProto.UINT8
    assert [each.dim_param or each.dim_value for each in kind.shape.dim] == ["batch", 32, 32, 3]
