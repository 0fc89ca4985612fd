"""Real engines, built by TensorRT-RTX without a GPU, of every family in every precision."""

import json
import platform

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.engine import build, layers
from export.engine.build import EngineSpec
from runtime.backends.nvidia import engine_manifest, gpu
from runtime.backends.nvidia.engine_manifest import Profile
from runtime.errors import InputError, MissingDependencyError
from runtime.files import sha256_of

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX comes for x86-64 only")

FAMILIES = ["mobilenetv3", "mobilenetv4", "efficientnet_lite", "convnext", "vit"]
TYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8"}


def order(precision="fp32", capability="8.6", **changes):
    profile = changes.pop("profile", Profile(1, 2, 8))
    return EngineSpec("tensorrt-rtx", precision, profile, capability, **changes)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_builds_and_is_inside_what_it_is_said_to_be(
    precise, tmp_path, family, precision
):
    path = build.build(precise(family, precision), tmp_path, order(precision))
    found = engine_manifest.load(path)
    assert found.weights_found[TYPES[precision]] > 0.9
    assert found.precision == precision


@pytest.mark.parametrize("capability", ["8.6", "8.9", "12.0"])
def test_an_engine_with_all_that_lies_beside_it(students, tmp_path, capability):
    source, told = students("mobilenetv3"), []
    asked = order(capability=capability, workspace_mb=256)
    path = build.build(source, tmp_path, asked, note=told.append)
    sm = capability.replace(".", "")
    assert path.name == f"mobilenetv3.fp32.tensorrt-rtx-sm{sm}.engine"
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        path.name, f"{path.name}.json", f"{path.name}.layers.json", f"{path.name}.sh",
    ]  # fmt: skip
    found = engine_manifest.load(path)
    fields = msgspec.to_builtins(found)
    assert fields == fields | {
        "flavour": "tensorrt-rtx",
        "compute_capability": capability,
        "os": platform.system(),
        "arch": platform.machine(),
        "onnx": source.name,
        "onnx_sha256": sha256_of(source),
        "engine_sha256": sha256_of(path),
        "profile": {"min_batch": 1, "opt_batch": 2, "max_batch": 8},
    }
    assert found.version.startswith("1.")
    listed = json.loads((tmp_path / f"{path.name}.layers.json").read_text(encoding="utf-8"))
    assert any(each["constants"] for each in listed)
    by_hand = (tmp_path / f"{path.name}.sh").read_text(encoding="utf-8")
    assert f"tensorrt_rtx --computeCapabilities={sm} --onnx={source.name}" in by_hand
    assert "--minShapes=images:1x3x32x32 --optShapes=images:2x3x32x32" in by_hand
    assert "--memPoolSize=workspace:244" in by_hand  # MiB
    assert told[0].startswith("Building engine (")


def test_no_file_is_left_by_an_engine_that_is_not_what_it_should_be(students, tmp_path):
    """An FP32 graph cannot become an FP16 engine: the builder takes types from the file."""
    with pytest.raises(InputError, match=r"named fp16 .* it has float32 100%") as caught:
        build.build(students("mobilenetv3"), tmp_path / "engines", order("fp16"))
    assert "precision was lost" in str(caught.value)
    assert not (tmp_path / "engines").exists()


def graph_with(*nodes, outputs, tensors=()):
    takes = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])
    gives = helper.make_tensor_value_info(outputs, TensorProto.FLOAT, None)
    drawn = helper.make_graph(list(nodes), "g", [takes], [gives], list(tensors))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.acme", 1)]
    return helper.make_model(drawn, opset_imports=opsets, ir_version=10)


def unsupported():
    relu = helper.make_node("Relu", ["images"], ["r"], "first")
    return graph_with(relu, helper.make_node("Unique", ["r"], ["u"], "odd_one"), outputs="u")


def foreign_operator():
    node = helper.make_node("Swirl", ["images"], ["s"], "swirl_7", domain="com.acme")
    return graph_with(node, outputs="s")


def asymmetric():
    tensors = [
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.array(7, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"], "pair_q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "pair_dq"),
    ]
    return graph_with(*nodes, outputs="d", tensors=tensors)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (unsupported, ["node 'odd_one', operator Unique", "docs/precision.md", "ONNX Runtime"]),
        (foreign_operator, ["node 'swirl_7', operator Swirl", "found no plugin of that name"]),
        (asymmetric, ["operator QuantizeLinear", "symmetric INT8 only: zero points of 0"]),
    ],
)
def test_what_tensorrt_cannot_read_is_told_by_node_operator_and_way_out(tmp_path, model, said):
    path = tmp_path / "planted.onnx"
    onnx.save(model(), path)
    with pytest.raises(InputError) as caught:
        build.build(path, tmp_path, order())
    for part in (str(path), *said):
        assert part in str(caught.value)


def test_a_damaged_file(tmp_path, students):
    path = tmp_path / "cut.onnx"
    path.write_bytes(students("mobilenetv3").read_bytes()[:-500])
    with pytest.raises(InputError, match="Is it a whole ONNX file"):
        build.build(path, tmp_path, order())
    with pytest.raises(InputError, match=r"none\.onnx: no such file"):
        build.build(tmp_path / "none.onnx", tmp_path, order())


def test_a_gpu_that_the_flavour_does_not_know(students, tmp_path):
    said = r"builds for .*SM86, SM89.*, not for SM87.\n  Build with `tensorrt` on the device"
    with pytest.raises(InputError, match=said):
        build.build(students("mobilenetv3"), tmp_path, order(capability="8.7"))


@pytest.mark.skipif(gpu.find() is not None, reason="there is a GPU")
def test_without_a_gpu_somebody_must_say_what_to_build_for(students, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="needs to know which GPU to build for"):
        build.build(students("mobilenetv3"), tmp_path, order(capability=None))
    import tensorrt_rtx

    # The one code path, as far as it goes without the package `tensorrt` and a GPU.
    monkeypatch.setattr(build, "import_flavour", lambda flavour: tensorrt_rtx)
    with pytest.raises(MissingDependencyError, match="builds an engine on the GPU that it is for"):
        build.build(
            students("mobilenetv3"), tmp_path, EngineSpec("tensorrt", "fp32", Profile(1, 1, 8))
        )


def test_layers_are_read_from_the_inspectors_json_of_10_and_11():
    ten = {"Name": "conv", "LayerType": "Convolution",
           "Inputs": [{"Name": "x", "Dimensions": [1, 3, 8, 8],
                       "Format/Datatype": "Channel major FP16 format"}],
           "Outputs": [], "Weights": {"Type": "Half", "Count": 432}}  # fmt: skip
    eleven = {"Name": "gemm", "LayerType": "gemm", "Inputs": [], "Outputs": [],
              "Constants": [{"Name": "w", "Dimensions": [4, 9], "Datatype": "Int8"}]}  # fmt: skip
    found = layers.from_inspector(json.dumps({"Layers": [ten, eleven, "only a name"]}))
    assert [each.name for each in found] == ["conv", "gemm"]
    assert found[0].inputs == (layers.Tensor("float16", 192),)
    assert layers.weight_types(found) == {
        "float16": round(432 / 468, 4),
        "int8": round(36 / 468, 4),
    }


def test_an_engine_whose_qdq_was_not_fused():
    float_weights = layers.Layer("c", "conv", (), (layers.Tensor("float32", 100),), ())
    with pytest.raises(InputError, match="Q/DQ was not fused into its layers"):
        layers.prove([float_weights], "int8")
    assert layers.prove([], "int8") == layers.WeightProof({}, "TensorRT lists no weights")
