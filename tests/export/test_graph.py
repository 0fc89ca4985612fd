"""Sessions that look into a graph."""

import re
from pathlib import Path

import export
import runtime

OPENED = re.compile(r"InferenceSession\((?:[^()]|\([^()]*\))*\)")


def test_every_session_is_told_its_number_of_threads():
    """One that is not makes ONNX Runtime bind threads to cores, which containers refuse."""
    found = [
        call
        for package in (export, runtime)
        for path in Path(package.__file__).parent.rglob("*.py")
        for call in OPENED.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(found) >= 5
    assert [call for call in found if not re.search(r"options|session_options", call)] == []


def test_a_calibration_opens_no_session_of_its_own(students, images, monkeypatch):
    import onnxruntime

    from export.precision.calibration import METHODS, calibrate, prepare

    threads, real = [], onnxruntime.InferenceSession

    def opened(model, options=None, **more):
        threads.append((options or more["sess_options"]).intra_op_num_threads)
        return real(model, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    model = prepare(students("efficientnet_lite"))
    for method in METHODS:
        calibrate(model, images[:8], name="random", method=method)
    assert len(threads) == 1 + len(METHODS)
    assert all(number >= 1 for number in threads)
