import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from compressor.models.compute import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(20):
    torch.ones(32 * 2**20)  # 128 MB: over what glibc keeps by itself, until all have a place
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(32 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(setting):
    """Of ten large tensors, in a process of its own: the setting holds as long as a process."""
    words = [sys.executable, "-c", PROGRAM, setting]
    return int(subprocess.run(words, capture_output=True, check=True, timeout=120).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_tensor_takes_the_place_of_the_last_one():
    assert page_faults("keep") < page_faults("leave") / 4
