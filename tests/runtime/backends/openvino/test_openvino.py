"""OpenVINO as a second runtime: its own ledger lines, and what it really computes in."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec import UNSET, structs

import runtime
from one_student import assert_it_answers_as_onnx_runtime_does, assert_threads_get_their_own_answers
from runtime.__main__ import main
from runtime.backends.base import SessionOptions
from runtime.backends.openvino import session as sessions
from runtime.backends.openvino.backend import OpenVino
from runtime.errors import InputError, MissingDependencyError
from runtime.evaluation.recommend import judge_again
from runtime.report.sections import precision

ONE = SessionOptions(threads=1)


@pytest.fixture
def installed():
    return pytest.importorskip("openvino")


def test_without_the_package_the_way_to_install_it_is_told(sound_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert OpenVino().available().install == "pip install 'edge-compressor[openvino]'"
    with pytest.raises(MissingDependencyError, match=r"edge-compressor\[openvino\]"):
        runtime.check(sound_bundle, openvino=True)
    with pytest.raises(MissingDependencyError, match="not installed"):
        runtime.load(sound_bundle, openvino=True)


def test_it_answers_as_onnx_runtime_does_and_says_what_it_computes_in(installed, student_onnx):
    found = OpenVino().open(student_onnx, ONE)
    assert_it_answers_as_onnx_runtime_does(found, student_onnx)
    assert found.proof.types == {"f32": 1.0}  # on every processor: it was ordered


def test_threads_get_their_own_answers(installed, student_onnx):
    assert_threads_get_their_own_answers(OpenVino().open(student_onnx, ONE))


@pytest.mark.parametrize(
    ("ran", "as_what", "refused"),
    [
        ({"f32": 3}, "fp32", ""),
        ({"bf16": 3}, "fp32", "computes this fp32 file in less: 3 layers in bf16"),
        ({"f32": 2, "f16": 1}, "fp32", "in less: 2 layers in f32, 1 in f16"),
        ({"i8": 2, "f32": 1}, "int8", ""),
        ({"f32": 3}, "int8", "computes no layer of this int8 file in int8 here: 3 layers in f32"),
        ({"f32": 3}, "fp16", ""),  # more than was asked for
        ({"f16": 2, "f32": 1}, "fp16", ""),
        ({"bf16": 3}, "fp16", "computes this fp16 file in less: 3 layers in bf16"),
    ],
)
def test_a_precision_that_is_not_delivered_is_an_error(
    installed, student_onnx, monkeypatch, ran, as_what, refused
):
    monkeypatch.setattr(sessions, "_layers_by_type", lambda model: ran)
    if not refused:
        types = OpenVino().open_as(student_onnx, as_what, ONE).proof.types
        assert types == {kind: count / 3 for kind, count in ran.items()}
        return
    with pytest.raises(MissingDependencyError) as caught:
        OpenVino().open_as(student_onnx, as_what, ONE)
    assert refused in str(caught.value)


def test_half_precision_is_not_computed_in_bfloat16(installed, student_onnx):
    """Which has 8 bits of a number, and half precision 11."""
    types = OpenVino().open_as(student_onnx, "fp16", ONE).proof.types
    assert types.keys() <= {"f16", "f32"}


def test_what_is_no_student_is_refused(installed, tmp_path, onnx_bytes):
    (tmp_path / "cut.onnx").write_bytes(onnx_bytes()[:60])
    (tmp_path / "other.onnx").write_bytes(onnx_bytes(output="features"))
    for name, said in (
        ("none.onnx", "no such file"),
        ("cut.onnx", "cannot load this file"),
        ("other.onnx", "a student takes images"),
        ("student.engine", "runs the ONNX files"),
    ):
        with pytest.raises(InputError, match=said):
            OpenVino().open(tmp_path / name, ONE)
    path = tmp_path / "sound.onnx"
    path.write_bytes(onnx_bytes())
    with pytest.raises(InputError, match=r"cannot answer images of shape \[2, 5, 8, 8\]"):
        OpenVino().open(path, ONE).run(np.zeros((2, 5, 8, 8), np.float32))


# --- in a check ------------------------------------------------------------------------------


@pytest.fixture
def report(installed, sound_bundle):
    return runtime.check(sound_bundle, openvino=True)


def test_a_check_has_a_line_of_its_own_that_is_never_recommended(report, sound_bundle):
    stages = [entry.stage for entry in report.ledger]
    assert stages == ["teacher", "student", "onnx-fp32", "openvino-fp32"]
    own, second = report.ledger[2:]
    assert (second.file, second.sha256) == (own.file, own.sha256)
    assert second.provider.startswith("OpenVINO 20")
    assert second.runs_in.types == {"f32": 1.0}
    assert second.same_file_as == "onnx-fp32"
    assert second.latency.runs > 0
    assert second.loss_against_before.before == "onnx-fp32"
    assert all(abs(each.value) < 1e-4 for each in second.loss_against_before.scores.values())
    assert own.same_file_as is UNSET
    assert report.recommended.stage == "onnx-fp32"
    document = runtime.load(sound_bundle).bundle.document
    assert judge_again(report, document).recommended.stage == "onnx-fp32"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (1.0, 1.0, "its answers are the student's"),
        (1.0, 0.9, "departs, not the file"),
        (0.9, 1.0, "**ONNX Runtime departs, not the file**"),
        (0.9, 0.9, "**the file departs**"),
    ],
)
def test_whether_the_file_or_the_runtime_departs(report, first, second, said):
    *others, own, beside = report.ledger
    ledger = (
        *others,
        structs.replace(own, parity_cosine_min=first),
        structs.replace(beside, parity_cosine_min=second),
    )
    lines = precision.lines(structs.replace(report, ledger=ledger))
    ran, line = [each for each in lines if each.startswith("`openvino-fp32`")]
    assert said in line
    assert "runs in, by the network that OpenVINO compiled" in ran
    assert ran.endswith("f32 100%.")


def test_a_file_that_it_does_not_compute_in_its_precision_stands_there_with_the_reason(
    installed, make_bundle, onnx_bytes, change_json, seal
):
    folder = make_bundle(models={"onnx-fp32": onnx_bytes(), "onnx-int8": onnx_bytes()})

    artifacts = json.loads((folder / "bundle.json").read_text())["artifacts"]
    artifacts[1]["precision"] = "int8"  # and no layer of it is quantised
    change_json(folder / "bundle.json", artifacts=artifacts)
    seal(folder)
    found = runtime.check(folder, openvino=True)
    (entry,) = [each for each in found.ledger if each.stage == "openvino-int8"]
    assert "computes no layer of this int8 file in int8" in entry.not_run


def test_it_predicts_too(installed, sound_bundle):
    folder = sound_bundle / "golden" / "images"
    paths = sorted(folder.iterdir())[:4]
    expected = runtime.load(sound_bundle).predict(paths)
    got = runtime.load(sound_bundle, openvino=True).predict(paths)
    assert [each.label for each in got] == [each.label for each in expected]
    done = CliRunner().invoke(main, ["predict", str(sound_bundle), str(paths[0]), "--openvino"])
    assert done.exit_code == 0, done.output
