"""What every backend owes for the student of the hand-made bundle, alone and in its bundle."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

import runtime
from runtime.__main__ import main
from runtime.backends.base import SessionOptions
from runtime.backends.registry import open_session
from runtime.errors import InputError, MissingDependencyError

ONE = SessionOptions(threads=1)


def images(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3, 8, 8)).astype(np.float32)


def assert_it_answers_as_onnx_runtime_does(session, student_onnx):
    expected = open_session(student_onnx, provider="cpu").run(images(5))
    got = session.run(images(5))
    assert got.embedding == pytest.approx(expected.embedding, abs=1e-6)
    assert got.logits == pytest.approx(expected.logits, abs=1e-5)
    kept = got.embedding.copy()
    session.run(images(5, seed=1))
    assert np.array_equal(kept, got.embedding)  # the arrays belong to the caller


def assert_threads_get_their_own_answers(session):
    given, together = [images(3, seed) for seed in range(8)], threading.Barrier(4)

    def ask(number):
        together.wait()
        return [session.run(given[number]).embedding for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(8)))
    for number, several in enumerate(answers):
        for each in several:
            assert each == pytest.approx(given[number].mean(axis=(2, 3)), abs=1e-6)


def assert_images_of_another_shape_are_refused(session):
    for given in (np.zeros((2, 3, 9, 8), np.float32), np.zeros((2, 3, 8, 8), np.uint8)):
        with pytest.raises(InputError, match=r"takes float32 \[N, 3, 8, 8\]"):
            session.run(given)


def assert_it_predicts(folder, file, typed):
    """`file` of a bundle, with the labels of its ONNX file; and `typed`, on the command line."""
    paths = sorted((folder / "golden" / "images").iterdir())[:4]
    expected = runtime.load(folder, file="onnx-fp32").predict(paths)
    got = runtime.load(folder, file=file).predict(paths)
    assert [each.label for each in got] == [each.label for each in expected]
    done = CliRunner().invoke(main, ["predict", str(folder), str(paths[0]), "--file", typed])
    assert done.exit_code == 0, done.output


def assert_its_package_is_missing(backend, extra, path):
    """The other files of the bundle are checked, and the way to the package is told."""
    way = f"pip install 'edge-compressor[{extra}]'"
    assert backend.available().install == way
    entries = {entry.stage: entry for entry in runtime.check(path.parent).ledger}
    assert entries["onnx-fp32"].latency.runs > 0
    assert way in entries[f"{extra}-fp32"].not_run
    with pytest.raises(MissingDependencyError, match=re.escape(f"edge-compressor[{extra}]")):
        backend.open(path, ONE)
