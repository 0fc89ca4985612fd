"""What every backend owes for the student of the hand-made bundle: its answers, also to threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from runtime.backends.registry import open_session


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
