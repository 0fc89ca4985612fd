"""A runtime that is too old for a file is named by version; a damaged file is something else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.backends import onnx_versions, ort
from runtime.backends.onnx_versions import OnnxVersions, versions_of, why_too_old
from runtime.backends.ort_library import import_onnxruntime
from runtime.backends.registry import open_session
from runtime.errors import InputError, MissingDependencyError

onnx = pytest.importorskip("onnx")


def write(path, *, ir=8, opset=18, domain="", nodes=True, others=1):
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3])
    result = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", 3])
    made = [helper.make_node("Relu", ["images"], ["embedding"], "relu")] if nodes else []
    drawn = helper.make_graph(made, "g", [value], [result])
    imports = [helper.make_opsetid("com.microsoft", others), helper.make_opsetid(domain, opset)]
    model = helper.make_model(drawn, opset_imports=imports, ir_version=ir)
    helper.set_model_props(model, {"preprocess": "x" * 300})
    onnx.save(model, path)
    return path


@settings(max_examples=30, deadline=None)
@given(ir=st.integers(1, 300), opset=st.integers(1, 10**6), domain=st.sampled_from(["", "ai.onnx"]))
def test_the_versions_are_read_without_onnx(tmp_path_factory, ir, opset, domain):
    path = tmp_path_factory.mktemp("v") / "x.onnx"
    write(path, ir=ir, opset=opset, domain=domain, others=10**7)
    assert versions_of(path) == OnnxVersions(ir, opset)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_give_versions_or_our_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("v") / "x.onnx"
    path.write_bytes(content)
    try:
        assert versions_of(path).ir > 0
    except InputError as error:
        assert "x.onnx: not " in str(error)


def test_a_file_that_ends_too_early_is_not_whole(tmp_path):
    path = write(tmp_path / "x.onnx")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a whole ONNX file"):
        versions_of(path)


@pytest.mark.parametrize(
    ("ir", "opset", "installed", "wanted"),
    [
        (8, 18, "1.14.0", None),
        (8, 18, "1.13.1", "1.14 or newer"),
        (8, 17, "1.12.1", None),
        (8, 15, "1.9.0", "1.10 or newer"),
        (9, 18, "1.14.1", "1.15 or newer"),
        (10, 18, "1.17.3", "1.18 or newer"),
        (10, 21, "1.18.0", None),
        (7, 13, "1.7.0", None),
    ],
)
def test_the_first_runtime_that_reads_a_file(tmp_path, ir, opset, installed, wanted):
    why = why_too_old(write(tmp_path / "x.onnx", ir=ir, opset=opset), installed, "FAIL : something")
    if wanted is None:
        assert why is None
    else:
        assert f"ONNX Runtime {installed} is too old for this file" in why
        assert f"IR {ir}, operator set {opset}. It needs {wanted}." in why
        assert "pip install --upgrade onnxruntime" in why


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported model IR version: 99, max supported IR version: 13",
        "Opset 99 is under development and support for this is limited.",
        "support for domain ai.onnx is till opset 25.",
    ],
)
def test_what_the_runtime_itself_says_counts(tmp_path, said):
    why = why_too_old(write(tmp_path / "x.onnx", ir=99, opset=99), "1.99.0", f"FAIL : {said}")
    assert "It needs a newer one." in why


@pytest.mark.parametrize("changed", [{"ir": 200}, {"opset": 4000}])
def test_this_runtime_is_too_old_for_a_file_of_the_future(tmp_path, changed):
    path = write(tmp_path / "x.onnx", **changed)
    with pytest.raises(MissingDependencyError, match="is too old for this file") as caught:
        open_session(path, provider="cpu")
    assert "copied" not in str(caught.value)


def test_an_older_runtime_is_told_so_and_not_asked_about_the_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(import_onnxruntime(), "__version__", "1.13.1")
    path = write(tmp_path / "x.onnx", opset=4000)
    with pytest.raises(MissingDependencyError, match=r"ONNX Runtime 1\.13\.1 is too old"):
        ort.OnnxRuntime().open(path, onnx_versions_options())


def onnx_versions_options():
    from runtime.backends.base import SessionOptions

    return SessionOptions("cpu", None, (1, 1))


def test_a_damaged_file_is_asked_about(tmp_path):
    path = write(tmp_path / "x.onnx")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="Was it copied completely"):
        open_session(path, provider="cpu")


def test_a_whole_file_that_cannot_run_is_not_called_a_bad_copy(tmp_path):
    path = write(tmp_path / "x.onnx", nodes=False)
    with pytest.raises(InputError, match="The file is whole") as caught:
        open_session(path, provider="cpu")
    assert "copied" not in str(caught.value)


def test_the_table_rises():
    for table in (onnx_versions._SINCE_IR, onnx_versions._SINCE_OPSET):
        assert list(table.values()) == sorted(table.values())
