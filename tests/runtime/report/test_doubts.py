"""Warnings: each is said in report.json, in report.md, on the page and on the console."""

import html
import re

import pytest

from runtime.cli import print_report
from runtime.report import html_page, markdown
from runtime.report.doubts import warnings_of, with_warnings
from runtime.results.scores import to_json


def scored(value, low, high):
    return {"accuracy_linear": value, "accuracy_linear_ci": [low, high]}


def class_of(name, images):
    share = {key: v for key in ("accuracy_teacher", "accuracy_deployed", "loss", "agreement")
             for key, v in ((key, 0.5), (f"{key}_ci", [0.4, 0.6]))}  # fmt: skip
    return {"class": name, "images": images, **share, "taken_for": None}


def collapsed(document, distance=1e-5, rank=4.0, of_teacher=(0.5, 12.0)):
    teacher, _, file = document["ledger"]
    teacher |= dict(zip(("embedding_distance", "embedding_rank"), of_teacher, strict=True))
    file |= {"embedding_distance": distance, "embedding_rank": rank}


def never(document):
    document["ledger"][0]["never_answered"] = ["tulip"]
    document["ledger"][2]["never_answered"] = ["rose", "tulip"]
    document["per_class"] = [class_of("rose", 12), class_of("tulip", 3), class_of("daisy", 12)]


def constant(document):
    document["per_class"] = [class_of("rose", 30), class_of("tulip", 10)]
    document["ledger"][2] |= scored(0.75, 0.6, 0.85)


def temperature(document, found=100.0):
    document["probe"] = {
        "kind": "linear", "why": "it is", "temperature": found, "calibrated": True, "labelled": 9,
    }  # fmt: skip


def outliers(document, score=(0.332, 0.2, 0.45)):
    document["golden"] |= {"ood_images": 40, "ood_source": "data.ood"}
    value, low, high = score
    document["ledger"][2] |= {"ood_auroc": value, "ood_auroc_ci": [low, high]}


def worse(document):
    document["before_training"] = {"raw": scored(0.95, 0.9, 0.98)}
    document["gained"] = {"raw": scored(-0.05, -0.08, -0.02)}


WARNED = [
    (collapsed, "embeddings_collapsed", "two images differ by 1e-05 on average"),
    (lambda d: collapsed(d, 0.4, 1.1), "embeddings_collapsed", "they differ in 1.1 dimensions"),
    (never, "classes_never_answered",
     "rose (12 images), tulip (3 images); nor does the teacher give tulip."),
    (constant, "no_better_than_one_class",
     "right for 0.750 of the labelled held-out images, and so often would be `rose`"),
    (temperature, "temperature_at_bound", "temperature of the probabilities is at its bound (100)"),
    (lambda d: temperature(d, 0.01), "temperature_at_bound", "at its bound (0.01)"),
    (outliers, "outliers_not_told", "AUROC 0.332 (0.200 to 0.450) on 40 of them"),
    (lambda d: outliers(d, (0.6, 0.45, 0.7)), "outliers_not_told", "AUROC 0.600"),
    (worse, "worse_than_raw_features", "by linear accuracy 0.050 (0.020 to 0.080)"),
]  # fmt: skip
SOUND = [
    lambda d: collapsed(d, 0.4, 9.0),
    lambda d: collapsed(d, 0.006, 1.2, of_teacher=(0.05, 2.0)),  # as few as the teacher's
    lambda d: temperature(d, 1.3),
    lambda d: outliers(d, (0.8, 0.51, 0.9)),
]


@pytest.mark.parametrize(("change", "key", "said"), WARNED)
def test_a_warning_is_said_everywhere(change, key, said, document, read, capsys):
    change(document)
    report = read(document)
    (warning,) = to_json(with_warnings(report))["warnings"]
    assert warning["key"] == key
    assert said in f"{warning['what']} {warning['meaning']}"
    whole = markdown.markdown(report)
    assert said in whole.partition("## Warnings")[2].partition("## Requirements")[0]
    assert whole.startswith("# flowers: failed, 1 warning (missed size_mb")
    page = html.unescape(html_page.render(report, None))
    assert said.replace("`", "") in page.partition("<main>")[2].partition("<h2>Requirements")[0]
    assert "<small>1 warning</small></h1>" in page
    for as_json in (False, True):
        print_report(report, as_json=as_json)
        printed = capsys.readouterr()
        assert said in (printed.err if as_json else printed.out)
        assert as_json is bool(printed.err)


@pytest.mark.parametrize("change", [lambda document: None, *SOUND])
def test_what_is_sound_gives_no_warning(change, document, read):
    change(document)
    report = read(document)
    assert with_warnings(report).warnings == ()
    assert "Warnings" not in markdown.markdown(report) + html_page.render(report, None)


def test_a_file_that_passes_with_a_warning_is_not_green(document, read):
    document["verdict"]["requirements"] = document["verdict"]["requirements"][:1]
    document["verdict"]["requirements"][0]["requirement"] = "size_mb"
    assert '<h1 class="passed">Passed</h1>' in html_page.render(read(document), None)
    temperature(document)
    page = html_page.render(read(document), None)
    assert '<h1 class="warned">Passed <small>1 warning</small></h1>' in page


def test_a_class_without_a_label_is_told_once(document, read):
    """It is told where the probe is described; it cannot be answered, whatever the student is."""
    never(document)
    document["classes_without_label"] = ["rose"]
    (warning,) = warnings_of(read(document))
    assert "rose" not in warning.rest
    document["classes_without_label"] = ["rose", "tulip"]
    assert warnings_of(read(document)) == ()


def test_names_of_classes_cannot_break_the_page(document, read):
    never(document)
    document["ledger"][2]["never_answered"] = ["<script>alert(1)</script>"]
    page = html_page.render(read(document), None)
    assert not re.search("<script", page)
