"""Which file of a bundle answers: the recommended one, and never another in silence."""

import numpy as np
import pytest

import runtime
from runtime.__main__ import main
from runtime.cli import guarded
from runtime.errors import InputError


@pytest.fixture(scope="module")
def files(sound_bundle):
    return sorted((sound_bundle / "golden" / "images").iterdir())


@pytest.fixture
def two_files(make_bundle, onnx_bytes, change_json, seal):
    """`two_files(recommended, content)`: a bundle of fp32, and of int8 with other bytes."""

    def make(recommended="onnx-int8", content=None):
        models = {"onnx-fp32": onnx_bytes(), "onnx-int8": content or onnx_bytes(factor=-1.0)}
        folder = make_bundle(models=models)
        change_json(folder / "bundle.json", recommended=recommended)
        seal(folder)
        return folder

    return make


@pytest.mark.parametrize(
    ("recommended", "asked", "stage"),
    [
        ("onnx-int8", None, "onnx-int8"),
        ("onnx-fp32", None, "onnx-fp32"),
        (None, None, "onnx-fp32"),  # an older bundle: its first
        ("onnx-int8", "onnx-fp32", "onnx-fp32"),
        ("onnx-fp32", "student.onnx-int8.onnx", "onnx-int8"),
    ],
)
def test_the_recommended_file_answers_unless_another_is_asked_for(
    two_files, files, recommended, asked, stage
):
    student = runtime.load(two_files(recommended), file=asked)
    assert student.file == stage
    (answer,) = student.predict(files[0])
    (of_fp32,) = runtime.load(two_files(), file="onnx-fp32").predict(files[0])
    sign = -1 if stage == "onnx-int8" else 1
    assert np.allclose(answer.embedding, sign * of_fp32.embedding)


BROKEN = {
    "no ONNX at all": lambda model: b"nonsense",
    "cut": lambda model: model()[:200],
    "answers NaN": lambda model: model(factor=float("nan")),
    "answers zero": lambda model: model(factor=0.0),
    "answers infinities": lambda model: model(head=np.full((3, 2), np.inf, np.float32)),
    "has no embedding": lambda model: model(output="something"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_recommended_file_that_is_broken_is_never_replaced_in_silence(
    two_files, files, onnx_bytes, how, monkeypatch, capsys
):
    folder = two_files(content=BROKEN[how](onnx_bytes))
    with pytest.raises(InputError) as refused:
        runtime.load(folder)
    said = str(refused.value)
    assert "onnx-int8 is the one that the bundle recommends; no other is taken" in said
    assert "--file onnx-fp32" in said
    assert runtime.load(folder, file="onnx-fp32").predict(files[0])
    monkeypatch.setattr("sys.argv", ["runtime", "predict", str(folder), str(files[0])])
    with pytest.raises(SystemExit) as ended:
        guarded(main)
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


def test_a_recommendation_of_a_file_that_is_not_there_is_refused(two_files):
    with pytest.raises(InputError, match="recommended: 'onnx-fp16' is none of onnx-fp32, onnx-int"):
        runtime.load(two_files("onnx-fp16"))


@pytest.mark.parametrize("named", ["onnx-int8", "onnx-fp32"])
def test_a_check_says_how_to_ask_for_another_file_than_the_bundles(
    two_files, named, monkeypatch, capsys
):
    monkeypatch.setattr("sys.argv", ["runtime", "check", str(two_files(named))])
    with pytest.raises(SystemExit):
        guarded(main)  # the INT8 file answers with the opposite of the student: FP32 is better
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("--file onnx-fp32") == (named == "onnx-int8")
