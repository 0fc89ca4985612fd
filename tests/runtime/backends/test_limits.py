"""ONNX files that never end, want all memory, or answer something else: stopped, in words."""

import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest

import runtime
from hand_made_bundle import SIDE, message, model, node, tensor, value_info
from runtime.backends import limits, ort
from runtime.backends.ort_library import import_onnxruntime, load_errors
from runtime.backends.registry import open_session
from runtime.checking import check
from runtime.errors import InputError, lacking

FLOAT, INT64, BOOL = 1, 7, 9
IMAGES = value_info("images", "batch", 3, SIDE, SIDE)


def scalar(name, kind):
    return message((1, name), (2, message((1, message((1, kind), (2, b""))))))


def constant(name, kind, raw, *sides):
    return message(*[(1, side) for side in sides], (2, kind), (8, name), (9, raw))


def whole(*graph):
    return message((1, 8), (7, message(*graph, (2, "student"))), (8, message((1, ""), (2, 13))))


def number(name, value):
    return message((1, name), (3, value), (20, 2))


def mean(output="mean", axes=(2, 3), keepdims=0):
    over = message((1, "axes"), *[(8, axis) for axis in axes], (20, 7))
    return node("ReduceMean", ["images"], output, over, number("keepdims", keepdims))


def endless():
    """`embedding` is what a loop of 2^62 rounds leaves, which adds one in each."""
    body = message(
        (1, node("Identity", ["go"], "on")),
        (1, node("Add", ["x", "one"], "next")),
        (2, "body"),
        (5, tensor("one", [1.0])),
        (11, scalar("round", INT64)),
        (11, scalar("go", BOOL)),
        (11, value_info("x", "batch", 3)),
        (12, scalar("on", BOOL)),
        (12, value_info("next", "batch", 3)),
    )
    loop = node(
        "Loop", ["rounds", "yes", "mean"], "embedding", message((1, "body"), (6, body), (20, 5))
    )
    return whole(
        (1, mean()),
        (1, loop),
        (5, constant("rounds", INT64, (2**62).to_bytes(8, "little"))),
        (5, constant("yes", BOOL, b"\1")),
        (11, IMAGES),
        (12, value_info("embedding", "batch", 3)),
    )


def greedy(numbers=40_000_000_000):
    """It fills 160 GB with zeros."""
    return whole(
        (1, node("ConstantOfShape", ["many"], "zeros")),
        (1, node("ReduceSum", ["zeros"], "none", number("keepdims", 0))),
        (1, mean()),
        (1, node("Add", ["mean", "none"], "embedding")),
        (5, constant("many", INT64, numbers.to_bytes(8, "little"), 1)),
        (11, IMAGES),
        (12, value_info("embedding", "batch", 3)),
    )


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "student.onnx"
        path.write_bytes(content)
        return path

    return write


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_file_that_never_ends_is_stopped(make_bundle, monkeypatch):
    monkeypatch.setattr(limits, "LIMIT_S", 4.0)
    folder = make_bundle(models={"onnx-fp32": endless()}, labels=False)
    for use in (runtime.load, check):
        with pytest.raises(InputError, match="gave no answer to one image in 4 s; stopped"):
            use(folder)


def test_an_answer_that_never_comes_is_stopped_in_this_process_too(written, monkeypatch):
    """A file may wait for an image that the trial does not have."""
    monkeypatch.setattr(ort, "ANSWER_S", 0.2)
    session = open_session(written(endless()), provider="cpu", threads=1)
    with pytest.raises(InputError, match="no answer in 0 s, stopped"):
        session.run(np.zeros((1, 3, SIDE, SIDE), np.float32))


def test_an_answer_in_time_is_given_however_often_it_is_asked_for(student_onnx, monkeypatch):
    monkeypatch.setattr(ort, "ANSWER_S", 0.5)
    session = open_session(student_onnx, provider="cpu", threads=1)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert session.run(np.ones((1, 3, SIDE, SIDE), np.float32)).embedding[0, 0] == 1


def test_a_file_that_wants_all_memory_is_refused(make_bundle):
    folder = make_bundle(models={"onnx-fp32": greedy()}, labels=False)
    with pytest.raises(
        InputError, match=r"student\.onnx-fp32\.onnx: needs more memory than 2.0 GB"
    ):
        runtime.load(folder)


@pytest.mark.parametrize("said", ["std::bad_alloc", "[E] Failed to allocate memory for a buffer"])
def test_memory_that_is_out_is_no_fault_of_the_file(written, monkeypatch, said):
    """ONNX Runtime 1.20 meets it on loading already, in words of its own."""
    path = written(model())
    ort = import_onnxruntime()
    session = open_session(path, provider="cpu")
    raised = load_errors()[-1](said)

    def refuse(*words, **options):
        raise raised

    monkeypatch.setattr(session, "_session", SimpleNamespace(run=refuse))
    with pytest.raises(MemoryError, match=said[-20:]):
        session.run(np.ones((1, 3, SIDE, SIDE), np.float32))
    monkeypatch.setattr(ort, "InferenceSession", refuse)
    with pytest.raises(MemoryError, match=said[-20:]) as caught:
        open_session(path, provider="cpu")
    assert lacking(caught.value).exit_code == 3


def test_the_limit_is_that_of_the_process_of_the_trial(written, monkeypatch):
    """40 MB of zeros are within it, 800 MB are not where it is 600."""
    monkeypatch.setattr(limits, "MEMORY_BYTES", 600_000_000)
    limits.require_answer(written(greedy(10_000_000)), SIDE)
    with pytest.raises(InputError, match=r"student.onnx: needs more memory than 0.6 GB for one im"):
        limits.require_answer(written(greedy(200_000_000)), SIDE)


def test_a_process_that_dies_is_told(written, monkeypatch):
    done = subprocess.CompletedProcess([], -11, b"", b"")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: done)
    with pytest.raises(InputError, match="its first answer ended with signal 11"):
        limits.require_answer(written(model(factor=7.0)), SIDE)


def test_nothing_is_imported_from_the_folder_where_one_stands(written, tmp_path, monkeypatch):
    path = written(model(factor=6.0))
    for name in ("numpy", "onnxruntime", "psutil", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    limits.require_answer(path, SIDE)


def test_a_sound_file_is_tried_once(written, monkeypatch):
    path, real, tried = written(model(factor=8.0)), subprocess.run, []

    def run(*words, **options):
        tried.append(words)
        return real(*words, **options)

    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(3):
        limits.require_answer(path, SIDE)
    limits.require_answer(path.rename(path.with_name("moved.onnx")), SIDE)
    assert len(tried) == 1
    path.write_bytes(model(factor=9.0))
    limits.require_answer(path, SIDE)
    assert len(tried) == 2


# --- other answers than a student's ----------------------------------------------------------

FOUR_AXES = whole(
    (1, mean(keepdims=1)),
    (1, node("Identity", ["mean"], "embedding")),
    (11, IMAGES),
    (12, value_info("embedding", "batch", 3, 1, 1)),
)
ONE_ROW = whole(
    (1, mean("embedding", axes=(0, 2, 3))), (11, IMAGES), (12, value_info("embedding", 3))
)
WHOLE_NUMBERS = whole(
    (1, mean()),
    (1, node("Cast", ["mean"], "embedding", number("to", INT64))),
    (11, IMAGES),
    (12, message((1, "embedding"), (2, message((1, message((1, INT64))))))),
)
TWO_INPUTS = whole(
    (1, mean()),
    (1, node("Add", ["mean", "other"], "embedding")),
    (11, IMAGES),
    (11, value_info("other", "batch", 3)),
    (12, value_info("embedding", "batch", 3)),
)
OTHER_ANSWERS = {
    "four axes": (FOUR_AXES, r"`embedding` is float32 \[1, 3, 1, 1\] for 1 images"),
    "one row for all": (ONE_ROW, r"`embedding` is float32 \[3\] for 1 images"),
    "whole numbers": (WHOLE_NUMBERS, r"`embedding` is int64 \[1, 3\]"),
    "two inputs": (TWO_INPUTS, "a student takes images, float or uint8"),
    "a class too many": (
        model(head=np.ones((3, 3), np.float32)),
        "of an embedding and 3 of classes",
    ),
    "no classes": (model(logits=False), "3 numbers of an embedding and 0 of classes"),
    "no embedding": (model(output="other"), "but no `embedding`"),
    "nothing": (b"", "cannot load this file|no graph"),
}


@pytest.mark.parametrize("name", OTHER_ANSWERS)
def test_a_file_that_answers_something_else_is_refused(make_bundle, name):
    content, said = OTHER_ANSWERS[name]
    folder = make_bundle(models={"onnx-fp32": content})
    for use in (runtime.load, check):
        with pytest.raises(InputError, match=said):
            use(folder)
