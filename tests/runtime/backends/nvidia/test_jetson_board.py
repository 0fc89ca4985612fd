"""Boards as folders: what JetPack they have, and what is said to be missing there."""

import sys

import pytest

from runtime.backends.nvidia import jetson_board
from runtime.backends.nvidia.jetson_board import Jetson

RELEASE = "# R{0} (release), REVISION: {1}, GCID: 38968081, BOARD: generic, EABI: aarch64"
SIX = Jetson("36.4.3", "6")


@pytest.fixture
def board(tmp_path):
    """`board("36", "4.3")`: the root of a board's file system."""

    def make(major="36", revision="4.3"):
        (tmp_path / "etc").mkdir()
        text = RELEASE.format(major, revision)
        (tmp_path / "etc" / "nv_tegra_release").write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("major", "revision", "jetpack"),
    [("35", "4.1", "5"), ("36", "4.3", "6"), ("38", "2.0", "7"), ("44", "1", None)],
)
def test_jetpack_is_told_by_jetson_linux(board, major, revision, jetpack):
    assert jetson_board.read(board(major, revision)) == Jetson(f"{major}.{revision}", jetpack)


def test_another_machine_is_no_jetson(tmp_path):
    assert jetson_board.read(tmp_path) is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("something else")
    assert jetson_board.read(tmp_path) is None


def test_nothing_is_missing_on_a_board_with_all_of_it(machine, tmp_path):
    assert jetson_board.missing(SIX, tmp_path) == []


def test_jetpack_5_is_too_old(machine, tmp_path):
    (said,) = jetson_board.missing(Jetson("35.4.1", "5"), tmp_path)
    assert said.startswith("JetPack 5 has TensorRT 8, and 10.3 or newer is needed")


def test_a_board_without_tensorrt(machine, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert jetson_board.missing(SIX, tmp_path) == [
        "to build and run engines: sudo apt install nvidia-jetpack"
    ]


def test_an_environment_that_does_not_see_the_systems_tensorrt(machine, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    (tmp_path / "usr/lib/python3.10/dist-packages/tensorrt").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", "/home/me/environment")
    (said,) = jetson_board.missing(SIX, tmp_path)
    assert "this environment does not see it: python3 -m venv --system-site-packages" in said
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    (said,) = jetson_board.missing(SIX, tmp_path)
    assert "dist-packages/tensorrt, but: tensorrt cannot be imported" in said


@pytest.mark.parametrize(
    ("jetson", "wanted"),
    [(SIX, ">=12.9,<13"), (Jetson("38.2", "7"), ">=12.9,<14"), (Jetson("44.1", None), ">=12.9")],
)
def test_bindings_of_the_boards_cuda_are_named(machine, tmp_path, monkeypatch, jetson, wanted):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert jetson_board.missing(jetson, tmp_path) == [
        f"to run engines: pip install 'cuda-bindings{wanted}'"
    ]


def test_bindings_that_the_driver_refuses_are_told(machine, tmp_path):
    machine.cuda.driver = 12060
    (said,) = jetson_board.missing(SIX, tmp_path)
    assert said.startswith("engines do not run: the driver is too old: it supports CUDA 12.6")
    assert said.endswith("pip install 'cuda-bindings<13'")


def test_tensorrt_of_jetpack_6_is_taken_and_an_older_one_is_not(machine, tmp_path):
    machine.trt.__version__ = "10.3.0.30"
    assert jetson_board.missing(SIX, tmp_path) == []
    machine.trt.__version__ = "10.2.0"
    (said,) = jetson_board.missing(SIX, tmp_path)
    assert said == "to build and run engines: sudo apt install nvidia-jetpack"
