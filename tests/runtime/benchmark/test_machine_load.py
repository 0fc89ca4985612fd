"""The load of a machine between two snapshots of its counters."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from runtime.benchmark import machine_load
from runtime.benchmark.machine_load import Snapshot


def snapshot(at_s, all_s=0.0, own_s=0.0, throttled=None):
    return Snapshot(at_s, all_s, own_s, throttled)


def test_other_processes_used_all_but_our_own_time():
    load = machine_load.between(snapshot(10, 100, 50), snapshot(20, 130, 65))
    assert load.others_cores == 1.5  # 30 core seconds in all, 15 of our own, in 10 s


@pytest.mark.parametrize(("others", "busy"), [(0.09, False), (0.11, True)])
def test_busy_is_more_than_a_tenth_of_the_machine(others, busy):
    cores = os.cpu_count()
    load = machine_load.between(snapshot(0), snapshot(100, 100 * others * cores))
    assert load.busy is busy


def test_a_counter_that_the_kernel_lacks_is_none():
    load = machine_load.between(Snapshot(0, None, 0, None), Snapshot(1, None, 1, None))
    assert (load.others_cores, load.busy, load.throttled) == (None, None, None)


def test_a_process_is_known_by_its_id_and_its_start_and_not_by_its_name():
    """A kernel's worker is named after its work; an id may be given to another process."""
    before = {(7, 1.0): ("kworker/0:1", 500.0), (8, 1.0): ("python", 3.0)}
    after = {(7, 1.0): ("kworker/0:1-events", 500.1), (8, 9.0): ("python", 4.0)}
    load = machine_load.between(Snapshot(0, 0, 0, None, before), Snapshot(10, 5, 0, None, after))
    assert [(each.name, each.pid, each.cores) for each in load.others] == [("python", 8, 0.4)]


@pytest.mark.parametrize(("before", "after", "throttled"), [(3, 3, False), (3, 4, True)])
def test_a_core_slowed_down_for_heat(before, after, throttled):
    load = machine_load.between(snapshot(0, throttled=before), snapshot(1, throttled=after))
    assert load.throttled is throttled


def test_counters_with_unlike_rounding_never_give_less_than_nothing():
    assert machine_load.between(snapshot(0, 0, 0), snapshot(1, 0.5, 0.6)).others_cores == 0


def test_the_warmest_sensor_is_reported(monkeypatch):
    chips = {"cpu": [SimpleNamespace(current=41.5), SimpleNamespace(current=62.0)], "ssd": []}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: chips, raising=False)
    assert machine_load.between(snapshot(0), snapshot(1)).temperature_c == 62.0


def test_a_system_without_sensors_or_counters_has_no_figures(monkeypatch):
    def hidden():
        raise PermissionError("/proc/stat")

    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    monkeypatch.setattr(psutil, "cpu_times", hidden)
    load = machine_load.between(machine_load.now(), machine_load.now())
    assert (load.temperature_c, load.others_cores) == (None, None)


def test_the_kernels_counters_see_the_work_of_another_process():
    """Real counters; the other process tells how much it worked, so that load does no harm."""
    work = (
        "import json, time\n"
        "while time.process_time() < 0.5: pass\n"
        "print(json.dumps(time.process_time()))"
    )
    before = machine_load.now()
    worked_s = json.loads(subprocess.check_output([sys.executable, "-c", work]))
    time.sleep(0.05)  # the kernel counts in ticks of 10 ms
    after = machine_load.now()
    seconds = after.at_s - before.at_s
    load = machine_load.between(before, after)
    assert load.others_cores * seconds > 0.8 * worked_s
    assert load.peak_memory_mb > 10
