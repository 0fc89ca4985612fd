"""Another gate is only judged again: measurements stay, unless another file is recommended."""

import shutil

import pytest
from msgspec import structs

from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans
from runtime.bundle import bundle
from runtime.evaluation.recommend import judge_again
from runtime.results import report as reports


@pytest.fixture(scope="module")
def again(base, tmp_path_factory):
    """Run a copy of the finished run with other gates; gives its folder."""
    store = tmp_path_factory.mktemp("again")
    shutil.copytree(base / "store", store / "store")

    def again(*changes):
        folder = store / str(len(list(store.iterdir())))
        shutil.copytree(base / "run", folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EDGE_COMPRESSOR_CACHE", str(store / "store"))
            run = Run(plans.load(base / "recipe.yaml", changes), folder)
            with run.locked():
                runner.run_all(run)
        return folder

    return again


def test_a_gate_changes_the_verdict_and_no_measurement(base, again):
    before = reports.load(base / "run")
    after = reports.load(again("require.size_mb=0.0001"))
    assert before.verdict.passed
    assert not after.verdict.passed
    assert [each.requirement for each in after.verdict.requirements if not each.passed] == [
        "size_mb"
    ]
    assert after.ledger == before.ledger
    assert after.end_to_end == before.end_to_end
    assert after.recipe.digest != before.recipe.digest


def test_if_another_file_is_recommended_nothing_old_is_used(base):
    report, found = reports.load(base / "run"), bundle.load(base / "run" / "bundle")
    other = next(entry for entry in report.ledger if entry.stage[:4] == "onnx"
                 and entry.stage != report.recommended.stage)  # fmt: skip
    was = structs.replace(report.recommended, stage=other.stage)
    assert judge_again(structs.replace(report, recommended=was), found.document) is None
    assert judge_again(report, found.document) is not None
