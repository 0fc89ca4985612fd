"""A bundle's student asked through Python and on the command line, by a real session."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import runtime
from runtime.__main__ import main
from runtime.bundle import golden
from runtime.cli import guarded
from runtime.documents import read_json
from runtime.errors import InputError
from runtime.images.decode import decode


@pytest.fixture(scope="module")
def student(sound_bundle):
    return runtime.load(sound_bundle)


@pytest.fixture(scope="module")
def files(sound_bundle):
    """Held-out images: even ones are red, odd ones blue."""
    return sorted((sound_bundle / "golden" / "images").iterdir())


def same(one, other):
    return [each.to_dict() for each in one] == [each.to_dict() for each in other]


# --- the answer ------------------------------------------------------------------------------


def test_it_answers_as_the_golden_set_has_it(student, files, sound_bundle):
    found = golden.load(sound_bundle / "golden")
    answers = student.predict(files)
    for row, answer in enumerate(answers):
        assert np.allclose(answer.embedding, found.arrays.student_embedding[row], atol=1e-5)
        expected = np.exp(found.arrays.student_logits[row])
        expected /= expected.sum()
        assert np.allclose(answer.probabilities, expected, atol=1e-5)
        assert answer.label == ("red", "blue")[row % 2]
        assert answer.confidence == pytest.approx(expected.max(), abs=1e-5)


def test_the_nearest_are_those_of_highest_cosine(student, files, sound_bundle):
    found = golden.load(sound_bundle / "golden")
    bank = found.arrays.bank / np.linalg.norm(found.arrays.bank, axis=1, keepdims=True)
    for answer in student.predict(files):
        cosines = bank @ (answer.embedding / np.linalg.norm(answer.embedding))
        order = np.argsort(-cosines)[:3]
        assert [each.image for each in answer.nearest] == [f"train/{n:02d}.png" for n in order]
        assert [each.label for each in answer.nearest] == [("red", "blue")[n % 2] for n in order]
        assert np.allclose([each.cosine for each in answer.nearest], cosines[order], atol=1e-5)
        assert answer.likeness == pytest.approx(cosines.max(), abs=1e-5)


def test_an_outlier_is_less_like_the_training_images_than_the_threshold(student, files):
    limit = student.ood_threshold
    answers = student.predict([*files, Image.new("RGB", (20, 20), (0, 255, 0))])
    assert [each.is_outlier for each in answers] == [each.likeness < limit for each in answers]
    assert answers[-1].is_outlier
    assert not answers[0].is_outlier


AT_CHANCE = {"source": "data.ood", "images": 40, "auroc": 0.332, "auroc_ci": [0.2, 0.45]}


@pytest.mark.parametrize(
    ("outliers", "why"),
    [(None, "bundle.json has no threshold for them"), (AT_CHANCE, "(AUROC 0.332, 0.200 to 0.450)")],
)
def test_no_image_is_called_an_outlier_where_that_would_be_a_coin_toss(
    sound_bundle, files, tmp_path, change_json, seal, outliers, why
):
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    change_json(folder / "bundle.json", ood_threshold=None, outliers=outliers)
    seal(folder)
    student = runtime.load(folder)
    assert [answer.is_outlier for answer in student.predict(files)] == [None] * len(files)
    assert why in student.no_outliers
    done = CliRunner().invoke(main, ["predict", str(folder), str(files[0]), "--json"])
    assert json.loads(done.stdout)[0]["is_outlier"] is None
    assert f"warning: {student.no_outliers}" in done.stderr
    done = CliRunner().invoke(main, ["predict", str(folder), str(files[0])])
    assert "?" not in done.stdout


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["embedding", "logits"])
def test_an_answer_that_is_not_finite_is_never_given(
    make_bundle, onnx_bytes, files, bad, where, capsys, monkeypatch
):
    head = np.array([[1.0, bad], [0.25, 0.0], [-1.0, 1.0]], np.float32)
    model = onnx_bytes(factor=bad) if where == "embedding" else onnx_bytes(head=head)
    folder = make_bundle(models={"onnx-fp32": model})
    with pytest.raises(InputError, match=r"the student's \w+ cannot be used"):
        runtime.load(folder).predict(files)
    words = ["runtime", "predict", str(folder), str(files[0]), "--json"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        guarded(main)
    assert ended.value.code == 2
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=pytest.fail)["exit_code"] == 2


def test_without_labels_there_is_no_label(make_bundle):
    student = runtime.load(make_bundle(labels=False))
    (answer,) = student.predict(Image.new("RGB", (20, 20), (255, 0, 0)))
    assert (answer.label, answer.confidence, answer.probabilities) == (None, None, None)
    assert [each.label for each in answer.nearest] == [None] * 3


@pytest.mark.parametrize(("asked", "named"), [(0, 0), (1, 1), (500, 20)])
def test_neighbours_as_many_as_asked_for_and_there(sound_bundle, files, asked, named):
    (answer,) = runtime.load(sound_bundle, neighbours=asked).predict(files[0])
    assert len(answer.nearest) == named


def test_a_bundle_that_does_not_name_its_bank_names_no_neighbours(sound_bundle, tmp_path, seal):
    folder = shutil.copytree(sound_bundle, tmp_path / "older")
    path = folder / "golden" / "golden.json"
    document = read_json(path)
    del document["bank_images"]
    path.write_text(json.dumps(document), encoding="utf-8")
    seal(folder)
    (answer,) = runtime.load(folder).predict(folder / "golden" / "images" / "00.png")
    assert answer.nearest == ()
    assert answer.label == "red"


# --- what can be asked -----------------------------------------------------------------------


def test_files_pictures_and_arrays_are_answered_alike(student, files):
    pictures = [decode(path) for path in files]
    arrays = [np.asarray(each) for each in pictures]
    expected = student.predict(files)
    assert same(student.predict([str(path) for path in files]), expected)
    assert same(student.predict(pictures), expected)
    assert same(student.predict(arrays), expected)
    assert same(student.predict(np.stack(arrays)), expected)  # [B, H, W, 3]
    for one in (files[0], pictures[0], arrays[0]):
        assert same(student.predict(one), expected[:1])


def test_more_than_a_batch_and_none_at_all(student, files):
    many = [*files] * 5
    assert len(many) > 2 * 32
    assert same(student.predict(many), student.predict(files) * 5)
    assert student.predict([]) == []


def test_a_picture_is_turned_upright_as_a_file_is(student, tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :10, 0], pixels[:, 10:, 2] = 255, 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        assert same(student.predict(picture), student.predict(tmp_path / "turned.png"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), r"image 1: an array of float32 \[4, 4, 3\]"),
        (np.zeros((4, 4), np.uint8), r"image 1: an array of uint8 \[4, 4\]"),
        (np.zeros((3, 4, 4), np.uint8), r"image 1: an array of uint8 \[3, 4, 4\]"),
        (np.zeros((0, 4, 3), np.uint8), r"image 1: an array of uint8 \[0, 4, 3\]"),
        (np.zeros((1, 500, 3), np.uint8), "image 1: absurdly thin"),
        ("nowhere.jpg", "nowhere.jpg: cannot be read: No such file"),
    ],
)
def test_what_is_no_picture_is_named(student, files, wrong, said):
    with pytest.raises(InputError, match=said):
        student.predict([files[0], wrong])


def test_a_damaged_picture_of_pillow_is_named(student, files, tmp_path):
    (tmp_path / "half.png").write_bytes(files[0].read_bytes()[:150])
    with Image.open(tmp_path / "half.png") as picture, pytest.raises(InputError, match="image 0: "):
        student.predict(picture)


def test_threads_get_the_same_answers(student, files):
    expected = [student.predict(path) for path in files]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            got = list(pool.map(student.predict, files))
            assert all(same(one, other) for one, other in zip(got, expected, strict=True))


# --- which file ------------------------------------------------------------------------------


def test_a_file_is_chosen_by_stage_or_name(make_bundle, onnx_bytes):
    double = onnx_bytes(factor=2.0)
    folder = make_bundle(models={"onnx-fp32": onnx_bytes(), "onnx-fp16": double})
    red = Image.new("RGB", (20, 20), (255, 0, 0))
    (first,) = runtime.load(folder).predict(red)
    for file in ("onnx-fp16", "student.onnx-fp16.onnx"):
        (other,) = runtime.load(folder, file=file).predict(red)
        assert np.allclose(other.embedding, 2 * first.embedding, atol=1e-5)
    with pytest.raises(InputError, match="no file 'onnx-int8'; it has onnx-fp32, onnx-fp16"):
        runtime.load(folder, file="onnx-int8")


def test_an_answer_that_is_not_finite_is_said(make_bundle, onnx_bytes):
    folder = make_bundle(models={"onnx-fp32": onnx_bytes(factor=float("nan"))})
    with pytest.raises(InputError, match="the student's embedding cannot be used"):
        runtime.load(folder).predict(Image.new("RGB", (20, 20), (255, 0, 0)))


# --- the command -----------------------------------------------------------------------------


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "runtime", "predict", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(runtime.__file__).parents[1])},
        capture_output=True,
        text=True,
    )


def test_the_command_prints_a_line_an_image(sound_bundle, files, student):
    done = command(sound_bundle, *files[:2], cwd=sound_bundle)
    assert done.returncode == 0, done.stderr
    _, _, first, second = done.stdout.splitlines()
    for line, path, answer in zip((first, second), files, student.predict(files[:2]), strict=False):
        assert path.name in line
        assert f"| {answer.label} " in line
        assert f"{answer.confidence:.3f}" in line
        assert answer.nearest[0].image in line


def test_the_command_marks_what_is_none_of_the_task(sound_bundle, tmp_path):
    Image.new("RGB", (20, 20), (0, 255, 0)).save(tmp_path / "green.png")
    done = command(sound_bundle, "green.png", cwd=tmp_path)
    assert " ? |" in done.stdout.splitlines()[-1].replace("  ", " ")


def test_the_command_prints_json_alone(sound_bundle, files, student):
    done = command(sound_bundle, files[3], "--json", "--nearest", "1", cwd=sound_bundle)
    assert done.returncode == 0, done.stderr
    ((document),) = json.loads(done.stdout)
    assert document["image"] == str(files[3])
    assert document["label"] == "blue"
    assert len(document["nearest"]) == 1


def test_the_command_names_a_missing_image(sound_bundle, tmp_path):
    done = command(sound_bundle, "nowhere.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere.png: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert command(sound_bundle, cwd=tmp_path).returncode == 2


# --- a check without a command line ----------------------------------------------------------


def test_a_check_writes_nothing_unless_asked(sound_bundle, tmp_path):
    before = sorted(sound_bundle.rglob("*"))
    report = runtime.check(str(sound_bundle))
    assert report.verdict.passed is True
    assert sorted(sound_bundle.rglob("*")) == before
    assert sorted(sound_bundle.parent.iterdir()) == [sound_bundle]
    written = runtime.check(sound_bundle, out=tmp_path / "report")
    assert (
        read_json(tmp_path / "report" / "report.json")["recipe"]["digest"] == written.recipe.digest
    )
    assert (tmp_path / "report" / "report.html").is_file()


def test_a_check_of_no_bundle_raises(tmp_path):
    with pytest.raises(runtime.InputError, match="not a bundle"):
        runtime.check(tmp_path)
