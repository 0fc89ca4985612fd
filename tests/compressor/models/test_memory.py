import subprocess
import sys

PROGRAM = """
import resource, torch
from compressor.models.compute import keep_freed_memory
print(keep_freed_memory())
for _ in range(20):
    torch.ones(32 * 2**20)  # 128 MB: over what glibc keeps by itself, until all have a place
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(32 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_tensor_takes_the_place_of_the_last_one():
    """In a process of its own, since it is for the whole process and for good."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    took, faults = done.stdout.split()
    if took == "True":  # glibc
        assert int(faults) < 10 * 32 * 2**20 * 4 / 4096 / 10
    else:
        assert took == "False"
