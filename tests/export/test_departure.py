"""Planted faults are found where they were planted, and right files depart nowhere."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import graph
from export.departure import APART, first_departure


def planted(source, path, change):
    """A copy whose weight of a matrix operator in the middle is changed; returns that node."""
    model = onnx.load(source)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    behind = set(graph.head(model))
    nodes = [
        node
        for node in model.graph.node
        if node.op_type in graph.MATRIX_OPERATORS
        and node.name not in behind
        and len(node.input) > 1
        and node.input[1] in stored
    ]
    node = nodes[len(nodes) // 2]
    weight = stored[node.input[1]]
    changed = change(numpy_helper.to_array(weight).copy())
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(model, path)
    return node


def other_signs(weight):
    weight[: (len(weight) + 1) // 2] *= -1
    return weight


def overflowing(weight):
    weight[0] = np.inf
    return weight


@pytest.mark.parametrize("family", ["mobilenetv3", "convnext", "vit"])
@pytest.mark.parametrize("change", [other_signs, overflowing])
def test_a_layer_made_wrong_is_named(students, images, tmp_path, family, change):
    source = students(family)
    node = planted(source, tmp_path / "wrong.onnx", change)
    found = first_departure(source, tmp_path / "wrong.onnx", images[:3])
    assert (found.node, found.operator) == (node.name, node.op_type)
    assert found.is_own
    assert found.before < 1e-4
    assert found.error is None if change is overflowing else found.error > APART


@pytest.mark.parametrize("family", ["mobilenetv3", "vit"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_right_file_departs_nowhere(students, precise, images, family, precision):
    assert first_departure(students(family), precise(family, precision), images[:3]) is None


def test_an_error_that_grows_is_not_blamed_on_one_layer(students, precise, images):
    """Of INT8 every layer rounds: where it is apart at all, the inputs of that layer are too."""
    found = first_departure(students("vit"), precise("vit", "int8"), images[:3])
    assert found is None or found.before > 0
