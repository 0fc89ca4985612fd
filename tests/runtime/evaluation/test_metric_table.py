"""A metric is one entry of the table: an invented one is seen wherever metrics are."""

import numpy as np
import pytest

from runtime import metrics
from runtime.bundle import bundle, golden
from runtime.evaluation import metric_table
from runtime.evaluation.check import check
from runtime.evaluation.metric_table import METRICS, Chart, Metric
from runtime.evaluation.recommend import faithfulness
from runtime.evaluation.report_schema import json_schema
from runtime.report import compare, described, html_page, markdown
from runtime.results.scores import to_json


def same_sign(subject):
    """An invented metric: how often a number of the embedding is positive."""
    if subject.comparison is None:
        return None
    positive = (subject.comparison.embedding > 0).mean(axis=1)
    return metrics.mean_estimate(positive)


INVENTED = Metric(
    "positive_share", "positive share", "share of the embedding's numbers above zero",
    "Similarity structure", "lower", compute=same_sign, needs=("12 images",),
    chart=Chart("Positive share", "an invented chart"), shows_loss=True, faithfulness=0,
)  # fmt: skip


@pytest.fixture
def invented(monkeypatch):
    monkeypatch.setattr(metric_table, "METRICS", (*METRICS, INVENTED))


@pytest.fixture
def report(invented, sound_bundle):
    return check(bundle.load(sound_bundle), golden.load(sound_bundle / "golden"))


def test_an_invented_metric_is_seen_everywhere(report):
    teacher, student, deployed = to_json(report)["ledger"]
    assert "positive_share" not in teacher  # it compares with the teacher
    low, high = deployed["positive_share_ci"]
    assert low <= deployed["positive_share"] <= high
    assert deployed["loss_against_before"]["positive_share"] == pytest.approx(
        deployed["positive_share"] - student["positive_share"]
    )
    page = markdown.markdown(report)
    assert "- *positive share*: share of the embedding's numbers above zero." in page
    assert page.count("| positive share") >= 2  # the ledger, and the loss at each step
    assert "| positive share" in markdown.text(report)
    drawn = html_page.render(report, None)
    assert "<b>Positive share</b> an invented chart" in drawn
    assert "<th>positive share</th>" in drawn
    assert "| positive share" in compare.text(["one", "two"], [report, report])
    assert "positive_share" in [change.figure for change in compare.changes(report, report)]
    assert faithfulness([report.entry("onnx-fp32")]) is INVENTED
    assert "| `positive_share` | positive share |" in described.metrics()
    assert "positive_share_ci" in json_schema()["$defs"]["LedgerEntry"]["properties"]


def test_lower_is_better_turns_losses_and_comparisons(invented):
    assert "positive_share" in metric_table.lower_is_better()
    assert "accuracy_knn" not in metric_table.lower_is_better()


def test_keys_and_titles_are_unique():
    for names in ([each.key for each in METRICS], [each.title for each in METRICS]):
        assert len(set(names)) == len(names)
    assert all((each.compute is None) != (each.read is None) for each in METRICS)


@pytest.mark.parametrize(
    ("labels", "images", "ood"), [(True, 16, 6), (False, 16, 0), (True, 11, 0), (False, 11, 6)]
)
def test_a_metric_is_there_only_where_what_it_needs_is(make_bundle, labels, images, ood):
    folder = make_bundle(labels=labels, images=images, ood=ood)
    found = check(bundle.load(folder), golden.load(folder / "golden")).entry("student").scores
    has = {
        "labels": labels,
        "12 images": images >= 12,
        "out-of-distribution images": bool(ood),
    }
    for metric in METRICS:
        if metric.compute is not None and not metric.key.endswith("_probe"):
            assert (metric.key in found) == all(has[need] for need in metric.needs), metric.key
    assert all(np.isfinite(score.value) for score in found.values())
