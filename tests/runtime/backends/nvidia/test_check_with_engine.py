"""A bundle with an engine, checked from end to end over the stand-in: what a user sees."""

import pytest

from runtime.bundle import bundle, golden
from runtime.documents import read_json
from runtime.errors import MissingDependencyError
from runtime.evaluation.check import check
from runtime.files import sha256_of, write_json
from runtime.report import markdown
from runtime.results.report import Report
from runtime.results.scores import from_json, to_json
from stand_in_cuda import nothing_left

STAGE = "tensorrt-fp32-sm87"


@pytest.fixture
def folder(machine, make_bundle, make_engine, seal):
    """A bundle whose engine takes 1 to 8 images; the check sends 32."""
    folder = make_bundle(images=40, batches=(1, 8))
    (folder / "engines").mkdir()
    path = make_engine(folder=folder / "engines", side=8, dim=3, classes=2, least=1, most=8)
    document = read_json(folder / "bundle.json")
    name = path.relative_to(folder).as_posix()
    entry = {"stage": STAGE, "precision": "fp32", "file": name, "sha256": sha256_of(path)}
    write_json(folder / "bundle.json", {**document, "artifacts": [*document["artifacts"], entry]})
    seal(folder)
    return folder


def test_an_engine_for_eight_images_is_checked_with_all_of_them(machine, folder):
    report = to_json(check(bundle.load(folder), golden.load(folder / "golden")))
    (engine,) = (entry for entry in report["ledger"] if entry["stage"] == STAGE)
    assert engine["provider"] == "tensorrt-engine"
    assert (engine["latency"]["batch"], engine["latency_other_batches"][0]["batch"]) == (1, 8)
    assert engine["latency"]["same_answers"] is True
    assert engine["latency"]["device_as_graph"] is True
    assert engine["latency"]["device_median_ms"] == 1.0
    assert engine["runs_in"]["types"] == {"float32": 1.0}
    page = markdown.markdown(from_json(report, Report, folder))
    assert f"`{STAGE}` runs in, by the layers that TensorRT's inspector listed: float32" in page


def test_a_full_gpu_ends_the_check_with_3_and_leaves_nothing(machine, folder):
    machine.cuda.fail("cudaMalloc")
    with nothing_left(machine.cuda), pytest.raises(MissingDependencyError) as told:
        check(bundle.load(folder), golden.load(folder / "golden"))
    assert told.value.exit_code == 3
    assert "the GPU's memory is full" in str(told.value)


def test_without_a_gpu_it_stands_in_the_ledger_with_the_reason(machine, folder):
    machine.cuda.driver = 12060
    report = to_json(check(bundle.load(folder), golden.load(folder / "golden")))
    (engine,) = (entry for entry in report["ledger"] if entry["stage"] == STAGE)
    assert "the driver is too old: it supports CUDA 12.6" in engine["not_run"]
    assert "pip install 'cuda-bindings<13'" in engine["not_run"]
