"""ncnn runs networks of its own format: its answers, what it computes in, and what it refuses."""

import sys

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
from runtime.backends.ncnn import session as sessions
from runtime.backends.ncnn.backend import Ncnn
from runtime.backends.registry import backend_of, open_session
from runtime.bundle import bundle as bundles
from runtime.errors import InputError, MissingDependencyError
from runtime.report.sections import precision


@pytest.fixture(autouse=True)
def installed():
    return pytest.importorskip("ncnn")


def test_it_answers_as_onnx_runtime_does(student_param, student_onnx):
    assert backend_of(student_param).name == "ncnn"
    found = open_session(student_param, provider="cpu", threads=1)
    assert_it_answers_as_onnx_runtime_does(found, student_onnx)


def test_threads_get_their_own_answers(student_param):
    assert_threads_get_their_own_answers(Ncnn().open(student_param, ONE))


def test_what_it_computes_in_is_read_back(tmp_path, write_network):
    whole = Ncnn().open(write_network(tmp_path / "a.param"), ONE)
    assert (whole.precision, whole.proof.types) == ("fp32", {"f32": 1.0})
    half = Ncnn().open(write_network(tmp_path / "b.param", half=True), ONE)
    assert half.precision == "fp16"
    (kind,) = half.proof.types
    assert bool(half.proof.not_proved) == (kind == "f32")  # Armv8.2 computes in half precision
    assert half.run(images(2)).logits == pytest.approx(whole.run(images(2)).logits, abs=2e-3)


@pytest.mark.parametrize(
    ("ran", "half", "refused", "lacks"),
    [
        ({"f16": 3}, False, "computes this fp32 file in less: 3 in f16", ""),
        ({"f32": 2, "f16": 1}, False, "in less: 2 in f32, 1 in f16", ""),
        ({"f16": 3}, True, "", ""),
        ({"f32": 3}, True, "", "computes in float32"),
    ],
)
def test_a_precision_that_is_not_delivered_is_an_error(
    tmp_path, write_network, monkeypatch, ran, half, refused, lacks
):
    monkeypatch.setattr(sessions.NcnnSession, "_layers_by_type", lambda self, *given: ran)
    path = write_network(tmp_path / "student.param", half=half)
    if refused:
        with pytest.raises(MissingDependencyError) as caught:
            Ncnn().open(path, ONE)
        assert refused in str(caught.value)
        return
    assert lacks in Ncnn().open(path, ONE).proof.not_proved


def damaged(path, how):
    weights = path.with_suffix(".bin")
    text, content = path.read_text(), weights.read_bytes()
    if how == "cut weights":
        weights.write_bytes(content[:-8])
    elif how == "more weights":
        weights.write_bytes(content + b"\0" * 4)
    elif how == "unknown type":
        weights.write_bytes(b"\x01\x02\x03\x04" + content[4:])
    elif how == "no weights":
        weights.unlink()
    elif how == "cut":
        path.write_text(text[:60])
    elif how == "no network":
        path.unlink()
    elif how == "renamed":
        path.write_text(text.replace("embedding", "features"))
    elif how == "other answers":
        path.write_text(text.replace("0=8 1=8 2=3", ""))
    elif how == "unknown layer":
        path.write_text(text.replace("Pooling", "Puddling"))
    elif how == "wrong counts":
        path.write_text(text.replace("4 5", "4 6"))
    elif how == "from nowhere":
        path.write_text(text.replace("1 1 again", "1 1 elsewhere"))
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut weights", "it ends in layer head"),
        ("more weights", "4 bytes follow the last layer"),
        ("unknown type", "layer head: no number type has 0x4030201"),
        ("no weights", "no such file; it belongs to the .param beside it"),
        ("cut", "not a whole network of ncnn"),
        ("no network", "no such file"),
        ("renamed", "a student takes images"),
        ("other answers", "does not say how large the images are"),
        ("unknown layer", "cannot load this file"),
        ("wrong counts", r"4 layers with 5 outputs; it tells of \[4, 6\]"),
        ("from nowhere", "takes elsewhere, which no layer before gives"),
    ],
)
def test_what_is_no_student_is_refused(student_param, how, said):
    with pytest.raises(InputError, match=said):
        Ncnn().open(damaged(student_param, how), ONE)


def test_images_of_another_shape_are_refused(student_param):
    assert_images_of_another_shape_are_refused(Ncnn().open(student_param, ONE))


# --- in a bundle -----------------------------------------------------------------------------


def test_a_check_has_lines_of_its_own(folder):
    report = runtime.check(folder)
    entries = {entry.stage: entry for entry in report.ledger}
    onnx, whole, half = (entries[name] for name in ("onnx-fp32", "ncnn-fp32", "ncnn-fp16"))
    assert whole.provider.startswith("ncnn 1.")
    assert whole.runs_in.types == {"f32": 1.0}
    assert whole.latency.runs > 0
    assert whole.parity_cosine_min == pytest.approx(1, abs=1e-6)
    assert whole.scores["agreement_linear"] == onnx.scores["agreement_linear"]
    (artifact,) = [each for each in bundles.load(folder).artifacts if each.stage == "ncnn-fp32"]
    both = artifact.path.stat().st_size + artifact.path.with_suffix(".bin").stat().st_size
    assert whole.size_mb == both / 1e6
    assert half.sha256 != whole.sha256  # although both have the same layers
    said = precision.lines(report)
    assert any("`ncnn-fp32` runs in" in line and "f32 100%" in line for line in said)


def test_a_bundle_with_damaged_weights_is_refused(folder, seal):
    weights = folder / "student.fp32.ncnn.bin"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"altered: student\.fp32\.ncnn\.bin"):
        runtime.check(folder)
    seal(folder)  # made so from the beginning
    with pytest.raises(InputError, match="its weights cannot be read"):
        runtime.check(folder)
    with pytest.raises(InputError, match="no other is taken in its place"):
        runtime.load(folder, file="ncnn-fp32")


def test_it_predicts(folder):
    assert_it_predicts(folder, "ncnn-fp32", typed="ncnn-fp16")


def test_without_the_package_the_other_files_are_checked_and_the_way_to_it_is_told(
    folder, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    assert_its_package_is_missing(Ncnn(), "ncnn", folder / "student.fp32.ncnn.param")


def test_a_part_outside_the_bundle_is_refused(folder, change_json, seal):
    import json

    artifacts = json.loads((folder / "bundle.json").read_text())["artifacts"]
    artifacts[1]["parts"] = ["../weights.bin"]
    change_json(folder / "bundle.json", artifacts=artifacts)
    seal(folder)
    with pytest.raises(InputError, match="points outside the bundle"):
        bundles.load(folder)
