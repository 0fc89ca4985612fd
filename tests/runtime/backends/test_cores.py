"""A container that refuses to bind threads to cores: emulated with a library of six lines."""

import os
import shutil
import subprocess
import sys

import pytest

REFUSED = """
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <pthread.h>
int pthread_setaffinity_np(pthread_t t, size_t n, const cpu_set_t *s) { return EINVAL; }
"""
SAID = "pthread_setaffinity_np failed"
UNTOLD = """
import numpy, sys, onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """`refused(*words)`: what python says on stderr where affinity is refused."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("refused")
    (folder / "refused.c").write_text(REFUSED, encoding="ascii")
    library = folder / "refused.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "refused.c"], check=True)

    def run(*words):
        unset = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            env=unset | {"LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stderr

    return run


def test_the_emulation_disturbs_a_session_that_is_not_told_its_threads(refused, student_onnx):
    if os.cpu_count() == 1:
        pytest.skip("one core needs no second thread")
    assert SAID in refused("-c", UNTOLD, student_onnx)


def test_a_check_prints_no_error(refused, make_bundle, tmp_path):
    bundle = make_bundle(threads=None)
    said = refused("-m", "runtime", "check", bundle, "--out", tmp_path / "report")
    assert SAID not in said
    providers = "from runtime.backends.ort_providers import starting_providers as s; s()"
    assert SAID not in refused("-c", providers)
