"""Targets: the ones that we ship, and one of the user's own."""

import re
from pathlib import Path

import pytest
from msgspec import structs

from compressor.recipe import target
from runtime.benchmark.machine import describe, matches
from runtime.errors import InputError

SHIPPED = [
    "android-arm64", "cpu", "jetson-orin-nano", "jetson-orin-nano-jetpack7", "pi-4", "pi-5",
    "rtx-4090", "rtx-5090", "x86-laptop", "x86-server",
]  # fmt: skip


def test_the_shipped_targets_are_found_by_name():
    assert target.names() == SHIPPED


@pytest.mark.parametrize("name", target.names())
def test_every_shipped_target_loads(name):
    path = target.path_of(name, Path("/nowhere"))
    assert path.stem == name
    loaded = target.load(path)
    assert loaded.description
    assert loaded.precisions[0] == "fp32"
    assert loaded.batches[0] == 1
    for pattern in loaded.match.model_dump().values():
        re.compile(pattern or "")
    assert loaded.runtimes
    assert (loaded.compute_capability is not None) == bool(loaded.engines)


NUMBERS = ("threads", "batches", "compute_capability", "memory_gb")


@pytest.mark.parametrize("name", target.names())
def test_every_number_of_a_shipped_target_has_a_source_and_a_date(name):
    loaded = target.load(target.path_of(name, Path()))
    given = {key for key in NUMBERS if key in loaded.model_fields_set}
    assert given <= loaded.sources.keys()
    assert all(re.search(r"20\d\d-\d\d-\d\d", source) for source in loaded.sources.values())
    assert loaded.sources.keys() <= type(loaded).model_fields.keys()


MACHINES = {
    "jetson-orin-nano": ("aarch64", "NVIDIA Jetson Orin Nano Developer Kit", None,
                         "Linux-5.15.148-tegra-aarch64-with-glibc2.35"),
    "jetson-orin-nano-jetpack7": ("aarch64", "NVIDIA Jetson Orin Nano Developer Kit", None,
                                  "Linux-6.8.12-tegra-aarch64-with-glibc2.39"),
    "pi-5": ("aarch64", "Raspberry Pi 5 Model B Rev 1.0", None,
             "Linux-6.6.31+rpt-rpi-2712-aarch64-with-glibc2.36"),
    "pi-4": ("aarch64", "Raspberry Pi 4 Model B Rev 1.4", "Cortex-A72",
             "Linux-6.1.21-v8+-aarch64-with-glibc2.31"),
    "x86-laptop": ("x86_64", None, "13th Gen Intel(R) Core(TM) i7-1365U", "Linux-6.8.0"),
    "x86-server": ("x86_64", None, "Intel(R) Xeon(R) Processor", "Linux-6.8.0"),
    "android-arm64": ("aarch64", None, None, "Android-14-aarch64-64bit"),
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_known_as_its_target_and_as_no_other_board(name):
    arch, board, cpu, system = MACHINES[name]
    machine = structs.replace(describe(), arch=arch, board=board, cpu=cpu, os=system, gpu=None)
    known = {
        each
        for each in target.names()
        if matches(machine, target.load(target.path_of(each, Path())).pattern)
    }
    more = {"x86-laptop": {"x86-server"}, "jetson-orin-nano-jetpack7": {"jetson-orin-nano"}}
    assert known == {name, "cpu", *more.get(name, ())}


def test_a_former_name_is_still_taken():
    assert target.path_of("raspberry-pi-5", Path()) == target.path_of("pi-5", Path())
    assert set(target.FORMER.values()) <= set(target.names())
    assert not set(target.FORMER) & set(target.names())


def test_a_target_says_how_to_know_its_device():
    by_name = {name: target.load(target.path_of(name, Path())) for name in target.names()}
    assert by_name["cpu"].match == target.Match()
    for name, loaded in by_name.items():
        assert name == "cpu" or loaded.match != target.Match()


def test_an_unknown_target_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'rasberry-pi-5' is not a target; did you mean pi-5\?"):
        target.path_of("rasberry-pi-5", Path())
    with pytest.raises(
        InputError, match=r"'toaster' is not a target; known: android-arm64, cpu, jetson-"
    ):
        target.path_of("toaster", Path())


def test_a_target_of_the_users_is_found_by_path(tmp_path):
    (tmp_path / "devices").mkdir()
    path = tmp_path / "devices" / "mine.yaml"
    path.write_text("description: mine\nthreads: 2\nbatches: [1, 4]\n")
    found = target.path_of("devices/mine.yaml", tmp_path)
    assert found == path
    assert target.path_of(str(path), Path("/elsewhere")) == path
    mine = target.load(found)
    assert (mine.threads, mine.batches, mine.provider) == (2, (1, 4), "cpu")


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*mine\.yaml"):
        target.path_of("mine.yaml", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description: a\nthread: 2\n", ":2: thread: unknown key; did you mean threads?"),
        ("threads: 2\n", ":1: description: missing; it has no default"),
        ("description: a\nprovider: gpu\n", ":2: provider: 'gpu' is not one of 'cpu', 'cuda' or"),
        ("description: a\nthreads: 0\n", ":2: threads: should be greater than or equal to 1"),
        ("description: a\nmatch: {bord: x}\n", ":2: match.bord: unknown key; did you mean board?"),
        ("description: a\nmatch: {cpu: '['}\n", ":2: match.cpu: not a regular expression: "),
        ("description: a\ncompute_capability: 8.7\n", ":2: compute_capability: should be a valid"),
        ("description: a\nprecisions: [fp32, int7]\n", ":2: precisions.1: 'int7' is not one of"),
        ("description: a\nbatches: [1, 0]\n", ":2: batches.1: should be greater than or equal"),
    ],
)
def test_a_mistake_in_a_target_is_named_with_line_and_key(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        target.load(path)
    assert str(caught.value).startswith(f"{path}{message}")
