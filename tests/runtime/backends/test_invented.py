"""A new backend is one new class and one line: this class and the line of the fixture."""

import numpy as np
import pytest

from runtime.backends import registry
from runtime.backends.base import Availability, Outputs, Proof
from runtime.backends.registry import backend_of, open_session
from runtime.bundle import bundle, golden
from runtime.documents import read_json
from runtime.errors import InputError
from runtime.evaluation.check import check
from runtime.files import sha256_of, write_json
from runtime.report import markdown
from runtime.results.report import Report
from runtime.results.scores import from_json, to_json

HEAD = np.array([[1.0, -1.0], [0.25, 0.0], [-1.0, 1.0]], np.float32)


class FakeSession:
    """Answers with the mean of each channel, as the student of the tests does."""

    takes = "float32"

    def run(self, images):
        embedding = images.mean(axis=(2, 3))
        return Outputs(embedding=embedding, logits=embedding @ HEAD)


class Fake:
    """Opens files whose text is `fake`."""

    name = "Fake"
    suffixes = (".fake",)
    uses_threads = False

    def available(self):
        return Availability(ready=True, details="version 0")

    def why_not_here(self, path):
        return "it is for another machine" if path.read_text() == "elsewhere" else None

    def open(self, path, options):
        assert path.read_text() == "fake"
        return FakeSession()

    def proof(self, path, options):
        return Proof("its own word", types={"float32": 1.0})

    def provider_of(self, provider):
        return "fake"


@pytest.fixture
def invented(monkeypatch):
    monkeypatch.setattr(registry, "BACKENDS", [*registry.BACKENDS, Fake()])


@pytest.fixture
def folder(make_bundle, seal):
    """A bundle with an ONNX file, the same student for the invented backend, and one for others."""
    folder = make_bundle()
    document = read_json(folder / "bundle.json")
    for stage, content in (("fake-fp32", "fake"), ("fake-elsewhere", "elsewhere")):
        path = folder / f"student.{stage}.fake"
        path.write_text(content)
        entry = {"stage": stage, "precision": "fp32"}
        document["artifacts"].append(entry | {"file": path.name, "sha256": sha256_of(path)})
    write_json(folder / "bundle.json", document)
    seal(folder)
    return folder


@pytest.mark.usefixtures("invented")
def test_a_bundle_with_its_file_is_checked_from_end_to_end(folder):
    report = to_json(check(bundle.load(folder), golden.load(folder / "golden")))
    entries = {entry["stage"]: entry for entry in report["ledger"]}
    fake, onnx = entries["fake-fp32"], entries["onnx-fp32"]
    assert (fake["provider"], onnx["provider"]) == ("fake", "cpu")
    assert fake["latency"]["median_ms"] > 0
    assert fake["latency"]["load_ms"] >= 0
    assert fake["parity_cosine_min"] == pytest.approx(1, abs=1e-6)
    assert fake["agreement_linear"] == onnx["agreement_linear"]
    assert fake["runs_in"]["read_from"] == "its own word"
    assert fake["runs_in"]["types"] == {"float32": 1.0}
    assert "runs_in" not in onnx
    said = markdown.markdown(from_json(report, Report, folder))
    assert "`fake-fp32` runs in, by its own word: float32 100%." in said
    assert entries["fake-elsewhere"]["not_run"] == "it is for another machine"


@pytest.mark.usefixtures("invented")
def test_its_file_is_opened_by_it(folder):
    path = folder / "student.fake-fp32.fake"
    assert backend_of(path).name == "Fake"
    assert isinstance(open_session(path, provider="cpu"), FakeSession)


def test_without_its_line_the_file_is_refused_with_the_kinds_there_are(folder):
    path = folder / "student.fake-fp32.fake"
    with pytest.raises(InputError, match=r"no backend opens .*; known: \.onnx, \.engine"):
        open_session(path, provider="cpu")


def test_the_backends_there_are_say_what_they_can_do():
    found = {backend.name: backend.available() for backend in registry.BACKENDS}
    assert found["ONNX Runtime"].ready
    assert "cpu starts" in found["ONNX Runtime"].details
    assert found["TensorRT"].ready or "pip install" in found["TensorRT"].install
