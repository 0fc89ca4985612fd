"""Targets: the ones that we ship, and one of the user's own."""

import re
from pathlib import Path

import pytest

from compressor.recipe import target
from runtime.errors import InputError

SHIPPED = ["cpu", "jetson-orin-nano", "raspberry-pi-5", "rtx-4090", "x86-server"]


def test_the_shipped_targets_are_found_by_name():
    assert set(SHIPPED) <= set(target.names())
    assert target.names() == sorted(target.names())


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
    assert (loaded.compute_capability is not None) == (loaded.provider == "cuda")
    if loaded.engines:
        assert loaded.provider == "cuda"


def test_a_target_says_how_to_know_its_device():
    by_name = {name: target.load(target.path_of(name, Path())) for name in target.names()}
    assert by_name["cpu"].match == target.Match()
    for name, loaded in by_name.items():
        assert name == "cpu" or loaded.match != target.Match()


def test_an_unknown_target_is_refused_with_the_nearest():
    with pytest.raises(
        InputError, match=r"'rasberry-pi-5' is not a target; did you mean raspberry-"
    ):
        target.path_of("rasberry-pi-5", Path())
    with pytest.raises(
        InputError, match=r"'toaster' is not a target; known: cpu, jetson-orin-nano,"
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
