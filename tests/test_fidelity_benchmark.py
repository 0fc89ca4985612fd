"""The benchmark of the figures: torch gives what numpy gives, and it runs from end to end."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "fidelity.py"


@pytest.fixture(scope="module")
def benchmark():
    """The script as a module, under a name that its own processes can import again."""
    spec = importlib.util.spec_from_file_location("fidelity_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "fidelity_benchmark", module)
        spec.loader.exec_module(module)
        yield module


def test_torch_gives_what_numpy_gives(benchmark):
    assert list(benchmark.NUMPY) == list(benchmark.TORCH)
    given = benchmark.given(300)
    for figure, by_numpy in benchmark.NUMPY.items():
        assert benchmark.TORCH[figure](given) == pytest.approx(by_numpy(given), abs=1e-4), figure


def test_the_table_and_the_file(benchmark, monkeypatch, tmp_path):
    """Measured here, not in processes of their own: those cost seconds each."""
    from click.testing import CliRunner

    def measured(sizes, figures, threads):
        return [
            benchmark.Cost(figure, library, size, 0.5, 0.25, 12.0)
            for size in sizes
            for figure in figures
            for library in ("numpy", "torch")
        ]

    monkeypatch.setattr(benchmark, "run", measured)
    words = ["--images", "40", "--out", str(tmp_path)]
    done = CliRunner().invoke(benchmark.main, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "| 40     | kNN votes          | 0.5000 | 0.25    | 0.25    | 12       | 12       |" in (
        done.output
    )
    found = json.loads((tmp_path / "fidelity.json").read_text())
    assert len(found["costs"]) == 16


def test_memory_is_measured_beyond_the_embeddings(benchmark):
    cost = benchmark.measure("cosine MAE", "numpy", 600, 1)
    assert (cost.figure, cost.images) == ("cosine MAE", 600)
    assert 0 < cost.value < 1
    assert cost.peak_mb < 200
