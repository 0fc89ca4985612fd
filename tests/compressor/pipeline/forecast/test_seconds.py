"""The seconds of every step, by hand, with stand-in rates."""

from dataclasses import replace

import pytest

from compressor.distillation.pace.cost import Cost
from compressor.distillation.pace.rates import Rates
from compressor.pipeline.forecast.seconds import Pace, Sizes, first_bundle_seconds, step_seconds
from compressor.pipeline.storage.records import StepRecord
from compressor.pipeline.work import ImageCounts
from runtime.images import corruptions

RATES = Rates(
    decode_s=0.01,
    teacher_s=0.1,
    student_s=0.02,
    step_cutting_s=0.05,
    step_s=0.04,
    start_view_s=0.03,
    solve_s=3.0,
)
PACE = Pace(RATES, 0.5, Cost(teacher_s=20, start_s=5, student_s=40), on_cpu=True)
SIZES = Sizes(files=110, counts=ImageCounts(60, 100, 10, 4), students=2, decoded=60)


def test_every_step_is_its_work_times_its_rate():
    found = step_seconds(SIZES, PACE, {})
    known = {step: pytest.approx(each) for step, each in found.items() if each is not None}
    every = len(corruptions.cells())
    assert known == {
        "images": 120 * 0.01,
        "embeddings": 110 * (0.1 + 0.01),
        "pixels": 60 * 0.01,
        "features": 20,
        "start": 5,
        "distill": 40,
        "probes": 110 * (2 * 0.02 + 0.01),
        "robustness": 4 * (every * 0.12 + 2 * 0.5),
    }


def test_without_room_for_decoded_images_none_are_made():
    assert step_seconds(replace(SIZES, decoded=0), PACE, {})["pixels"] == 0


def test_a_gpu_computes_while_threads_decode():
    found = step_seconds(SIZES, replace(PACE, on_cpu=False), {})
    assert found["embeddings"] == pytest.approx(110 * 0.1)


def test_making_and_checking_files_takes_as_long_as_it_last_did():
    found = step_seconds(SIZES, PACE, {"to_onnx": StepRecord("", "", (), (), {}, 7.5)})
    assert found["to_onnx"] == 7.5
    assert found["check"] is None


def test_a_first_bundle_is_solved_from_one_view_and_has_one_student():
    solved = 60 * 0.03 + 3
    assert first_bundle_seconds(SIZES, PACE) == pytest.approx(solved + 110 * (0.02 + 0.01))
