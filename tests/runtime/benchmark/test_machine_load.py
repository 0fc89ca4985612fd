"""What the kernel's counters say of the time between two moments."""

import os
import subprocess
import sys
import time

import pytest

from runtime.benchmark import machine_load
from runtime.benchmark.machine_load import Moment


def moment(at_s, all_s=0.0, own_s=0.0, throttled=None):
    return Moment(at_s, all_s, own_s, throttled)


def test_what_others_used_is_all_but_our_own():
    found = machine_load.between(moment(10, 100, 50), moment(20, 130, 65))
    assert found["others_cores"] == 1.5  # 30 core seconds in all, 15 of our own, in 10 s


@pytest.mark.parametrize(("others", "busy"), [(0.09, False), (0.11, True)])
def test_busy_is_more_than_a_tenth_of_the_machine(others, busy):
    cores = os.cpu_count()
    found = machine_load.between(moment(0), moment(100, 100 * others * cores))
    assert found["busy"] is busy


def test_what_the_kernel_does_not_say_is_none():
    found = machine_load.between(Moment(0, None, 0, None), Moment(1, None, 1, None))
    assert (found["others_cores"], found["busy"], found["throttled"]) == (None, None, None)


@pytest.mark.parametrize(("before", "after", "was"), [(3, 3, False), (3, 4, True)])
def test_a_core_slowed_down_for_heat(before, after, was):
    found = machine_load.between(moment(0, throttled=before), moment(1, throttled=after))
    assert found["throttled"] is was


def test_counters_are_rounded_apart_and_never_below_zero():
    assert machine_load.between(moment(0, 0, 0), moment(1, 0.5, 0.6))["others_cores"] == 0


def test_another_process_at_work_is_seen():
    """Real counters: a process that spins, beside this one that sleeps."""
    spin = "import time; end = time.time() + 30\nwhile time.time() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        with machine_load.watched() as found:
            time.sleep(1.5)
    finally:
        process.kill()
        process.wait()
    assert found["others_cores"] > 0.1
    assert found["peak_memory_mb"] > 10
