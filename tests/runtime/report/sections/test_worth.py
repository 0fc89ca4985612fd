"""Was it worth it? The student before training beside the trained one, in every form."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.evaluation import metric_table
from runtime.report import html_page, markdown
from runtime.report.sections import worth
from runtime.results.scores import Score, to_json


def scored(**values):
    """Scores as report.json has them: `key=(value, low, high)`."""
    return to_json({key: Score(*each) for key, each in values.items()})


@pytest.fixture
def pretrained(document):
    """The report of a student that had weights: better than its raw features, by every score."""
    document["before_training"] = {
        "closed_form": scored(accuracy_linear=(0.86, 0.8, 0.9), accuracy_knn=(0.8, 0.7, 0.9)),
        "raw": scored(accuracy_linear=(0.7, 0.6, 0.8), accuracy_knn=(0.75, 0.7, 0.8)),
    }
    document["gained"] = {
        "closed_form": scored(accuracy_linear=(0.04, 0.01, 0.07), accuracy_knn=(0.02, -0.01, 0.05)),
        "raw": scored(accuracy_linear=(0.2, 0.1, 0.3), accuracy_knn=(0.07, 0.02, 0.1)),
    }
    document["training"] = {"epochs": 8, "kept_epoch": 7}
    return document


def section(report):
    _, _, found = markdown.markdown(report).partition("## Was it worth it?")
    return found.partition("\n## ")[0]


def page(report):
    whole = html.unescape(html_page.render(report, None))
    _, _, found = whole.partition("<h2>Was it worth it?</h2>")
    return found.partition("</section>")[0]


def rows(text):
    """Cells of every line of Markdown tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_raw_closed_form_student_and_teacher_stand_side_by_side(pretrained, read):
    found = rows(section(read(pretrained)))
    assert ["score", "raw features", "closed form", "student", "teacher"] in found
    linear = ["linear accuracy", "0.700 (0.600 to 0.800)", "0.860 (0.800 to 0.900)",
              "0.900 (0.880 to 0.920)", "0.951 (0.930 to 0.970)"]  # fmt: skip
    assert linear in found


def test_the_terminal_has_the_judged_scores_without_intervals(pretrained, read):
    _, _, found = markdown.text(read(pretrained)).partition("Was it worth it?")
    assert ["linear accuracy", "0.700", "0.860", "0.900", "0.951"] in rows(found)
    assert ["kNN accuracy", "0.750", "0.800", "", ""] in rows(found)


def test_differences_are_said_with_their_intervals_and_the_rule(pretrained, read):
    found = section(read(pretrained))
    assert "Against its raw features, the student is better in kNN accuracy, linear" in found
    assert (
        "Against its closed form, the student is better in linear accuracy; shows no difference in "
        "kNN accuracy." in found
    )
    gained = [
        ["student's gain", "over its raw features", "over its closed form"],
        ["kNN accuracy", "+0.070 (+0.020 to +0.100)", "+0.020 (-0.010 to +0.050)"],
        ["linear accuracy", "+0.200 (+0.100 to +0.300)", "+0.040 (+0.010 to +0.070)"],
    ]
    assert [row for row in rows(found)[-4:] if "---" not in row[0]] == gained
    assert worth.RULE in found
    assert worth.doubts(read(pretrained)) == ()


def test_a_student_with_weights_is_never_called_untrained(pretrained, read):
    report = read(pretrained)
    for form in (markdown.markdown(report), markdown.text(report), html_page.render(report, None)):
        assert "untrained" not in form.lower()
        assert "raw features" in form


@pytest.mark.parametrize(
    ("name", "kept", "lead", "rest"),
    [
        ("raw", 7, "The raw features are better than the student",
         "by kNN accuracy 0.060 (0.020 to 0.090). More images help (they need no labels), a "),
        ("closed_form", 7, "Training made the student worse than its closed form",
         "by kNN accuracy 0.060 (0.020 to 0.090). `distill.epochs: 0` keeps the closed form"),
        ("closed_form", 0, "No epoch was better than the closed form",
         "on the validation images, so the closed form was kept. `distill.epochs: 0` gives the "),
    ],
)  # fmt: skip
def test_what_was_not_worth_it_is_said_everywhere(pretrained, read, name, kept, lead, rest):
    pretrained["gained"][name] |= scored(accuracy_knn=(-0.06, -0.09, -0.02))
    pretrained["training"]["kept_epoch"] = kept
    report = read(pretrained)
    assert f"**{lead}** {rest}" in markdown.markdown(report).partition("## Warnings")[2]
    assert markdown.text(report).splitlines()[-1].startswith(f"**{lead}** {rest}")
    said = f'<p class="doubt"><b>{lead}</b> {rest.replace("`", "")}'
    assert said in html.unescape(html_page.render(report, None)).partition("<h2>Requirements")[0]


def test_the_closed_form_alone_is_compared_with_its_raw_features(pretrained, read):
    for part in ("before_training", "gained"):
        del pretrained[part]["closed_form"]
    pretrained["training"] = {"epochs": 0, "kept_epoch": 0}
    pretrained["gained"]["raw"] = scored(accuracy_knn=(-0.06, -0.09, -0.02))
    report = read(pretrained)
    assert ["score", "raw features", "student", "teacher"] in rows(section(report))
    assert "The *student* is its closed form, because `distill.epochs` is 0." in section(report)
    assert "or training (`distill.epochs` above 0)" in markdown.markdown(report)
    assert "No epoch was better" not in markdown.markdown(report)


@pytest.fixture
def from_scratch(document):
    document["untrained_student"] = scored(accuracy_linear=(0.31, 0.2, 0.4))
    document["gained"] = {"untrained": scored(accuracy_linear=(0.59, 0.5, 0.7))}
    return document


def test_a_student_from_scratch_stands_beside_its_random_weights(from_scratch, read):
    found = section(read(from_scratch))
    assert "The same student before distillation, with random weights." in found
    assert ["score", "untrained student", "student", "teacher"] in rows(found)
    assert ["linear accuracy", "0.310 (0.200 to 0.400)", "0.900 (0.880 to 0.920)",
            "0.951 (0.930 to 0.970)"] in rows(found)  # fmt: skip
    assert "the student is better in linear accuracy." in found
    assert ["linear accuracy", "+0.590 (+0.500 to +0.700)"] in rows(found)


def test_a_student_made_worse_by_distillation_is_said(from_scratch, read):
    from_scratch["gained"]["untrained"] = scored(accuracy_linear=(-0.1, -0.2, -0.01))
    said = "**Distillation made the student worse** than it was with random weights, by linear "
    assert said in markdown.text(read(from_scratch))


def test_a_report_without_differences_shows_the_scores_alone(from_scratch, read):
    """As reports before this section had them."""
    del from_scratch["gained"]
    found = worth.worth_of(read(from_scratch))
    assert not found.compared
    assert not worth.doubts(read(from_scratch))
    assert found.themes


def test_scores_that_are_not_judged_are_no_answer(pretrained, read):
    """Two held-out images have a Procrustes cosine, and no accuracy or correlation."""
    for name in ("raw", "closed_form"):
        pretrained["before_training"][name] = scored(procrustes_cosine=(0.91, 0.86, 0.96))
        pretrained["gained"][name] = scored(procrustes_cosine=(0.03, 0.01, 0.05))
    assert worth.worth_of(read(pretrained)) is None
    assert "Was it worth it?" not in markdown.text(read(pretrained))


def test_an_earlier_student_without_a_judged_difference_is_not_compared(pretrained, read):
    pretrained["gained"]["raw"] = scored(procrustes_cosine=(0.03, 0.01, 0.05))
    (compared,) = worth.worth_of(read(pretrained)).compared
    assert compared.startswith("Against its closed form, the student is ")


def test_the_report_of_a_check_has_no_such_section(document, read):
    assert worth.worth_of(read(document)) is None
    assert "Was it worth it?" not in markdown.markdown(read(document))
    assert "Was it worth it?" not in html_page.render(read(document), None)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_better_and_worse_need_the_whole_interval(value, below, above):
    low, high = value - below, value + above
    split = worth.split({"accuracy_knn": Score(value, low, high)})
    assert [bool(found) for found in split] == [low > 0, high < 0, low <= 0 <= high]


def test_every_drawing_of_the_page_has_a_dot_for_each_that_was_measured(pretrained, read):
    found = page(read(pretrained))
    (drawing,) = re.findall(r"<svg.*?</svg>", found, flags=re.DOTALL)  # kNN accuracy has no chart
    assert "before and after training" in drawing
    assert re.findall(r'<g class="(\w+)">', drawing) == ["before", "before", "student", "teacher"]


def test_what_is_judged_is_among_the_metrics():
    assert set(worth.JUDGED) <= {metric.key for metric in metric_table.METRICS}
