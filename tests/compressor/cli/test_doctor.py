"""`compressor doctor` where there is a GPU, over the stand-in, and on a Jetson board."""

import sys

import pytest

from compressor.cli import doctor
from runtime.backends.nvidia import jetson_board
from runtime.backends.nvidia.jetson_board import Jetson


@pytest.fixture
def board(monkeypatch):
    """Let this machine be a board."""
    return lambda jetson: monkeypatch.setattr(jetson_board, "read", lambda: jetson)


def test_the_gpu_is_named_with_how_to_choose_another(machine):
    found = doctor.examine()
    assert found.gpu.startswith("Stand-in GPU, compute capability 8.7, CUDA 13.0 (the first")
    assert "CUDA_VISIBLE_DEVICES=1" in found.gpu
    assert found.jetpack is None
    assert found.tensorrt["tensorrt"] == "10.3.0"


def test_why_there_is_none_is_said(machine):
    machine.cuda.driver = 12060
    assert "pip install 'cuda-bindings<13'" in doctor.examine().gpu


def test_on_a_jetson_it_says_what_is_missing_with_the_command(machine, board, monkeypatch):
    board(Jetson("36.4.3", "6"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    found = doctor.examine()
    assert found.jetpack == "JetPack 6, Jetson Linux 36.4.3 (docs/jetson.md)"
    assert "to run engines: pip install 'cuda-bindings>=12.9,<13'" in found.advice
    assert "Jetson       JetPack 6, Jetson Linux 36.4.3" in doctor.text(found)


def test_a_board_with_all_of_it_lacks_nothing(machine, board):
    board(Jetson("36.4.3", "6"))
    assert not [line for line in doctor.examine().advice if "engine" in line]
