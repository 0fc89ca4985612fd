"""LiteRT runs `.tflite` files: its answers, what it computes in, and what it refuses."""

import sys

import numpy as np
import pytest

import runtime
from one_student import (
    ONE,
    assert_images_of_another_shape_are_refused,
    assert_it_answers_as_onnx_runtime_does,
    assert_it_predicts,
    assert_its_package_is_missing,
    assert_threads_get_their_own_answers,
    images,
)
from runtime.backends.litert import operators
from runtime.backends.litert.backend import LiteRt
from runtime.backends.registry import backend_of, open_session
from runtime.errors import InputError
from runtime.report.sections import precision


@pytest.fixture(autouse=True)
def installed():
    return pytest.importorskip("ai_edge_litert.interpreter")


def test_it_answers_as_onnx_runtime_does(student_tflite, student_onnx):
    assert backend_of(student_tflite).name == "LiteRT"
    found = open_session(student_tflite, provider="cpu", threads=1)
    assert_it_answers_as_onnx_runtime_does(found, student_onnx)


def test_threads_get_their_own_answers(student_tflite):
    assert_threads_get_their_own_answers(LiteRt().open(student_tflite, ONE))


@pytest.mark.parametrize(
    ("kind", "computed", "lacks", "close"),
    [
        ("fp32", "float32", "", 1e-5),
        ("fp16", "float32", "its weights are in half precision", 2e-3),
        ("int8", "int8", "", 0.05),
    ],
)
def test_what_it_computes_in_is_read_back(tmp_path, write_file, kind, computed, lacks, close):
    found = LiteRt().open(write_file(tmp_path / "student.tflite", kind), ONE)
    assert found.precision == kind
    assert found.proof.types == {computed: 1.0}
    assert lacks in found.proof.not_proved
    assert bool(found.proof.not_proved) == bool(lacks)
    whole = LiteRt().open(write_file(tmp_path / "whole.tflite"), ONE).run(images(4)).logits
    assert found.run(images(4)).logits == pytest.approx(whole, abs=close)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_weights_behind_the_flatbuffer_are_read_too(tmp_path, write_file, kind):
    inside = write_file(tmp_path / "inside.tflite", kind)
    behind = write_file(tmp_path / "behind.tflite", kind, behind=True)
    assert operators.read(behind) == operators.read(inside)
    got, expected = (LiteRt().open(path, ONE).run(images(4)) for path in (behind, inside))
    assert np.array_equal(got.logits, expected.logits)
    (tmp_path / "cut.tflite").write_bytes(behind.read_bytes()[:-16])
    with pytest.raises(InputError, match="it ends before its weights do"):
        LiteRt().open(tmp_path / "cut.tflite", ONE)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("weight-only", r"1 operators in float32; weights: int8 100 %"),
        ("dynamic", r"1 operators in float32 with int8 weights; weights: int8 100 %"),
    ],
)
def test_a_file_whose_weights_alone_are_int8_is_not_called_int8(tmp_path, write_file, kind, said):
    path = write_file(tmp_path / "student.int8.tflite", kind)
    assert operators.read(path).precision is None
    with pytest.raises(InputError, match=f"neither fp32, fp16 nor int8: {said}"):
        LiteRt().open(path, ONE)


def test_what_is_no_student_is_refused(tmp_path, write_file):
    content = write_file(tmp_path / "sound.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[:200])
    (tmp_path / "text.tflite").write_text("not a model")
    (tmp_path / "zero.tflite").write_bytes(content[:16] + b"\xff" * (len(content) - 16))
    write_file(tmp_path / "other.tflite", names=("images", "features", "logits"))
    write_file(tmp_path / "input.tflite", names=("pixels", "embedding", "logits"))
    for name, said in (
        ("none", "no such file"),
        ("cut", "not a whole file of LiteRT"),
        ("text", "not a whole file of LiteRT"),
        ("zero", "not a whole file of LiteRT"),
        ("other", "a student takes images"),
        ("input", "a student takes images"),
    ):
        with pytest.raises(InputError, match=said):
            LiteRt().open(tmp_path / f"{name}.tflite", ONE)


def test_images_of_another_shape_are_refused(student_tflite):
    assert_images_of_another_shape_are_refused(LiteRt().open(student_tflite, ONE))


# --- in a bundle -----------------------------------------------------------------------------


def test_a_check_has_lines_of_its_own(folder):
    report = runtime.check(folder)
    entries = {entry.stage: entry for entry in report.ledger}
    whole, small = entries["litert-fp32"], entries["litert-int8"]
    assert whole.provider.startswith("LiteRT 2.")
    assert whole.latency.runs > 0
    assert whole.parity_cosine_min == pytest.approx(1, abs=1e-6)
    assert small.runs_in.types == {"int8": 1.0}
    assert small.parity_logit_difference > whole.parity_logit_difference
    said = precision.lines(report)
    assert any("`litert-int8` runs in" in line and "int8 100%" in line for line in said)


def test_a_file_of_another_precision_than_the_bundle_says_is_refused(folder, write_file, seal):
    write_file(folder / "student.int8.tflite", "fp32")
    seal(folder)
    with pytest.raises(InputError, match="delivered as int8, and is a file in fp32"):
        runtime.check(folder)
    with pytest.raises(InputError, match="delivered as int8, and is a file in fp32"):
        runtime.load(folder, file="litert-int8")


def test_it_predicts(folder):
    assert_it_predicts(folder, "litert-fp16", typed="litert-int8")


def test_without_the_package_the_other_files_are_checked_and_the_way_to_it_is_told(
    folder, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert_its_package_is_missing(LiteRt(), "litert", folder / "student.fp32.tflite")
