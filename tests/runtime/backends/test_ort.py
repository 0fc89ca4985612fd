"""Real ONNX Runtime sessions on models written by hand, and every way to refuse a file."""

import os
import subprocess
import sys

import numpy as np
import pytest

from runtime.backends.ort_library import import_onnxruntime
from runtime.backends.registry import open_session
from runtime.errors import InputError, MissingDependencyError


def images(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_answers_any_batch(student_onnx, batch):
    given = images(batch)
    got = open_session(student_onnx, provider="cpu").run(given)
    assert got.embedding.dtype == np.float32
    assert got.embedding == pytest.approx(given.mean(axis=(2, 3)), abs=1e-6)
    assert got.logits.shape == (batch, 2)
    head = np.array([[1, -1], [0.25, 0], [-1, 1]])
    assert got.logits == pytest.approx(got.embedding @ head, abs=1e-6)


def test_the_arrays_belong_to_the_caller(student_onnx):
    session = open_session(student_onnx, provider="cpu", threads=1)
    first = session.run(images(2))
    kept = first.embedding.copy()
    session.run(images(2, seed=1))
    assert np.array_equal(first.embedding, kept)
    first.embedding[:] = 0  # writable


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_threads_do_not_change_the_answer(student_onnx, threads):
    got = open_session(student_onnx, provider="cpu", threads=threads).run(images(3))
    assert got.embedding == pytest.approx(images(3).mean(axis=(2, 3)), abs=1e-6)


def test_a_student_without_labels_has_no_logits(tmp_path, onnx_bytes):
    path = tmp_path / "student.onnx"
    path.write_bytes(onnx_bytes(logits=False))
    got = open_session(path, provider="cpu").run(images(2))
    assert got.embedding.shape == (2, 3)
    assert got.logits is None


def test_a_provider_that_did_not_start_is_an_error(student_onnx, capfd):
    if "CUDAExecutionProvider" in import_onnxruntime().get_available_providers():
        pytest.skip("CUDA may start here")
    with pytest.raises(MissingDependencyError) as caught:
        open_session(student_onnx, provider="cuda")
    said = str(caught.value)
    assert "should use CUDAExecutionProvider but started CPUExecutionProvider" in said
    assert "Is a GPU visible (nvidia-smi)?" in said or "driver" in said
    assert "pip install 'edge-compressor[gpu]'" in said
    assert "set `provider: cpu` in the target file" in said
    assert caught.value.exit_code == 3
    assert capfd.readouterr() == ("", "")  # what ONNX Runtime thinks of it is not shown as well


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(InputError, match=rf"{path.name}: no such file"):
            open_session(path, provider="cpu")


GARBAGE = {
    "text": lambda whole: b"this is no model" * 20,
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[:-30],
    "zeros": lambda whole: bytes(len(whole)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(tmp_path, onnx_bytes, name):
    path = tmp_path / "student.onnx"
    path.write_bytes(GARBAGE[name](onnx_bytes()))
    with pytest.raises(InputError) as caught:
        open_session(path, provider="cpu")
    said = str(caught.value)
    assert said.startswith(f"{path}: ONNX Runtime ")
    assert "cannot load this file: " in said
    assert "Was it copied completely? `compressor export RUN` writes it again." in said


@pytest.mark.parametrize(
    ("newer", "said"),
    [({"ir_version": 99}, "too old .* in IR 99"), ({"opset": 99}, "too old .* operator set 99")],
)
def test_a_model_newer_than_the_runtime(tmp_path, onnx_bytes, newer, said):
    path = tmp_path / "student.onnx"
    path.write_bytes(onnx_bytes(**newer))
    with pytest.raises(MissingDependencyError, match=said):
        open_session(path, provider="cpu")


def test_a_model_without_embedding(tmp_path, onnx_bytes):
    path = tmp_path / "other.onnx"
    path.write_bytes(onnx_bytes(output="features"))
    said = r"other\.onnx: has the outputs \['features', 'logits'\], but no `embedding`"
    with pytest.raises(InputError, match=said):
        open_session(path, provider="cpu")


def test_no_onnx_runtime_says_what_to_install():
    script = (
        "import sys; sys.modules['onnxruntime'] = None\n"  # as if it were not installed
        "from runtime.errors import MissingDependencyError\n"
        "from runtime.backends.ort_library import import_onnxruntime\n"
        "try:\n    import_onnxruntime()\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ONNX Runtime cannot be imported: ")
    assert "pip install 'edge-compressor[cpu]'" in done.stdout
    assert "pip install 'edge-compressor[gpu]'" in done.stdout
    assert "Jetson" in done.stdout


USES = {
    "a session": "from runtime.backends.ort import OrtSession, SessionOptions; "
    "use = lambda path: OrtSession(path, SessionOptions(threads=1))",
    "quantisation": "from export.precision.calibration import prepare as use",
}


@pytest.mark.parametrize("name", USES)
def test_nothing_of_telemetry_is_left_behind(student_onnx, tmp_path, name):
    if name == "quantisation":
        pytest.importorskip("onnx")
    (tmp_path / "home").mkdir()
    script = f"import sys; from pathlib import Path; {USES[name]}; use(Path(sys.argv[1]))"
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path / "home"))
    settings = {**os.environ, **places}
    settings.pop("ORT_DISABLE_TELEMETRY", None)  # of this process
    command = [sys.executable, "-c", script, str(student_onnx)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home").rglob("*")) == []


def test_the_hand_written_model_is_valid(student_onnx):
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load(student_onnx), full_check=True)
