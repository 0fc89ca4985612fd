"""The report: everything that was measured, for programs and for people."""

import html
import json

import pytest

from runtime.report import html_page, markdown
from runtime.text import without_markup


def rows(table):
    """Cells of every line of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_page_says_what_was_found(document, read):
    page = markdown.markdown(read(document))
    assert page.startswith("# flowers: failed (missed size_mb; undecided ood_auroc)\n")
    assert "Target `raspberry-pi-5`. Recommended: `student.fp32.onnx` (the only file)." in page
    assert "## Requirements" in page
    assert "## Ledger" in page
    assert "95 % bootstrap interval" in page
    assert "## Data\n\n- images: 100\n- classes: 5\n- rejected: none\n" in page
    assert "- cpu: Cortex-A76\n- cores: 4\n" in page
    assert "- libraries: numpy 2.0, pillow 11\n" in page
    assert "- gpu" not in page  # there is none
    assert "| distill | 100.0" in page
    assert "not the target" not in page
    assert page.endswith("\n")


def test_the_page_says_that_this_is_not_the_target(document, read):
    document["target"]["this_machine"] = False
    page = markdown.markdown(read(document))
    assert "`raspberry-pi-5`; **this machine is not the target; latencies were measured" in page


def test_the_page_of_a_check_has_neither_data_nor_times(document, read):
    del document["data"], document["timings_s"]
    page = markdown.markdown(read(document))
    assert "## Data" not in page
    assert "## Time" not in page


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([True, True], "passed"),
        ([True, None], "undecided (b)"),
        ([True, None, "pass"], "undecided (b; counts as met by require.undecided)"),
        ([], "no requirement set"),
        ([False, True], "failed (missed a)"),
        ([False, None], "failed (missed a; undecided b)"),
        ([False, False], "failed (missed a, b)"),
    ],
)
def test_verdict_line(outcomes, expected, document, read):
    template = document["verdict"]["requirements"][0]
    judged = [
        template | {"requirement": name, "passed": passed}
        for name, passed in zip("ab", outcomes, strict=False)
    ]
    passed = expected.startswith("passed") or "pass" in outcomes
    document["verdict"] = {"passed": passed, "requirements": judged}
    report = read(document)
    assert markdown.verdict_line(report) == expected
    outcome = expected.partition(" (")[0]
    heading = f'<h1 class="{outcome.replace(" ", "-")}">{outcome.capitalize()}</h1>'
    assert heading in html_page.render(report, None)
    assert markdown.markdown(report).startswith(f"# flowers: {expected}\n")


PROBE = {
    "kind": "prototypes",
    "why": "the least log-loss",
    "labelled": 20,
    "classes_without_label": [],
    "candidates": [
        {"kind": "linear", "accuracy": 0.5, "accuracy_ci": [0.4, 0.6], "log_loss": 1.25},
        {"kind": "prototypes", "accuracy": 0.75, "accuracy_ci": [0.6, 0.9], "log_loss": 0.8},
    ],
    "temperature": 0.5,
    "calibrated": True,
}


def test_the_page_says_which_probe_answers_and_how_it_was_chosen(document, read):
    document["probe"], document["classes_without_label"] = PROBE, []
    page = markdown.markdown(read(document))
    assert "Deployed probe: prototypes, fitted with 20 labels (the least log-loss)." in page
    assert "calibrated on labelled training images (temperature 0.5)" in page
    assert "| prototypes | 0.750 (0.600 to 0.900) | 0.800" in page
    assert "Never answered" not in page
    assert "prototypes" in markdown.text(read(document))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["glass"], "**Never answered: glass.** No training image of this class is labelled"),
        (["ash", "tin"], "**Never answered: ash, tin.** No training image of these classes is"),
    ],
)
def test_classes_without_label_are_named_on_the_page_and_in_the_terminal(
    document, missing, said, read
):
    document["probe"], document["classes_without_label"] = PROBE, missing
    assert said in markdown.markdown(read(document))
    assert said in markdown.text(read(document))


def test_too_few_labels_to_calibrate_or_for_any_probe(document, read):
    document["probe"] = {**PROBE, "candidates": [], "calibrated": False}
    assert "Probabilities are not calibrated: there are too few labels" in markdown.text(
        read(document)
    )
    document["probe"] = {"kind": None, "why": "under two classes are labelled", "labelled": 1}
    assert "No class is answered: under two classes are labelled." in markdown.markdown(
        read(document)
    )


def test_without_labels_nothing_is_said_of_probes(document, read):
    assert "probe" not in markdown.text(read(document))
    assert "## Classes and probabilities" not in markdown.markdown(read(document))


def test_the_page_shows_the_search_for_a_student(document, read):
    sizes = {"median_ms": 1.0, "runs": 20}
    document["student_search"] = {
        "chosen": "small",
        "why": "it fits",
        "measured": [
            {"model": "big", "size_mb": 8.0, "p95_ms": 4.0, "fits": False} | sizes,
            {"model": "small", "size_mb": 3.0, "p95_ms": 2.0, "fits": True} | sizes,
        ],
    }
    page = markdown.markdown(read(document))
    assert "## Why this student\n\n`small`: it fits." in page
    assert "| big   | 8.00 | 4.00   | no   |" in page


def test_every_metric_of_the_report_is_explained_and_no_other(document, read):
    page = markdown.markdown(read(document))
    assert "- *similarity correlation*: Pearson correlation of the cosines" in page
    assert "*CKA*" not in page


def test_writes_all_three_files(document, tmp_path, read):
    markdown.write(read(document), tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    written = (tmp_path / "new" / "report.json").read_text(encoding="utf-8")
    assert json.loads(written)["verdict"].pop("outcome") == "failed"
    document["verdict"]["outcome"] = "failed"
    assert json.loads(written) == document
    page = (tmp_path / "new" / "report.md").read_text(encoding="utf-8")
    assert page == markdown.markdown(read(document))


def test_nan_is_refused_and_the_old_report_stays(document, tmp_path, read):
    markdown.write(read(document), tmp_path)
    written = (tmp_path / "report.json").read_bytes()
    document["ledger"][0]["accuracy_linear"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        markdown.write(read(document), tmp_path)
    assert (tmp_path / "report.json").read_bytes() == written


# --- beyond the ledger -----------------------------------------------------------------------


@pytest.fixture
def findings(document):
    """A report with everything that a check looks into."""
    _, student, deployed = document["ledger"]
    for entry, loss in ((student, 0.05), (deployed, 0.0512)):
        lost = {"accuracy_linear": loss, "accuracy_linear_ci": [0.01, 0.09]}
        entry["loss_against_teacher"] = lost
    before = {"before": "student", "accuracy_linear": 0.0, "accuracy_linear_ci": [-0.004, 0.004]}
    deployed["loss_against_before"] = before
    said = {"answer": "tulip", "confidence": 0.987}
    image = {"image": "a|b.jpg", "label": "rose", "teacher": said, "deployed": said}
    document["departures"] = {
        "measure": "total variation between calibrated probabilities",
        "most": [image | {"distance": 0.913}],
        "teacher_unsure": {
            "below": 0.5,
            "images": 3,
            "agreement_where_sure": 0.9,
            "agreement_where_sure_ci": [0.8, 0.95],
            "agreement_where_unsure": 0.333,
            "agreement_where_unsure_ci": [0.1, 0.9],
            "most": [],
        },
    }
    document["golden"]["set_apart_as_seen_in_training"] = ["twin.jpg"]
    return document


def test_the_page_shows_losses_with_their_signs(findings, read):
    _, _, section = markdown.markdown(read(findings)).partition("against the entry before")
    assert "| onnx-fp32 | 0.000 (-0.004 to +0.004) |" in section  # nothing has no sign
    assert "| student   | +0.050 (+0.010 to +0.090) |" in section


def test_the_page_shows_disagreements_and_what_the_teacher_is_unsure_of(findings, read):
    page = markdown.markdown(read(findings))
    assert "| a\\|b.jpg | rose  | tulip (0.99) | tulip (0.99) | 0.913    |" in page
    assert "On 3 images the teacher's answer has a calibrated probability under 0.5" in page
    assert "0.333 (0.100 to 0.900) of them, and on 0.900 (0.800 to 0.950) of the others" in page


def test_the_page_names_contaminated_images(findings, read):
    page = markdown.markdown(read(findings))
    assert "1 held-out images are left out of every score" in page
    assert "twin.jpg" in page


def test_a_report_without_findings_has_no_such_sections(document, read):
    page = markdown.markdown(read(document))
    for heading in ("## Loss", "differs most", "unsure", "## Classes\n", "Corrupted"):
        assert heading not in page


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (
            {"weights": "hub", "hub_id": "timm/small.in1k", "license": "apache-2.0"},
            "Student: `small`, distilled from weights: timm/small.in1k (apache-2.0).",
        ),
        (
            {"weights": "a.pth", "package": "small-weights 1.0", "license": "mit"},
            "Student: `small`, distilled from weights: small-weights 1.0 (mit).",
        ),
        (
            {"weights": "mine.safetensors", "license": "the user's"},
            "Student: `small`, distilled from weights: `mine.safetensors` (the user's).",
        ),
        (
            {"weights": "d.pth", "part": "teacher > backbone., a moving average, not student"},
            r"`d.pth`; of that file teacher \> backbone., a moving average, not student.",
        ),
        (
            {"weights": "none"},
            "Student: `small`, distilled from scratch, without pretrained weights.",
        ),
    ],
)
def test_it_says_where_the_weights_came_from(document, read, student, said):
    document["teacher"] = {"model": "big", "weights": "t.safetensors"}
    document["student"] = {"model": "small", **student}
    report = read(document)
    text = markdown.markdown(report)
    assert said in text
    assert "Teacher: `big`, weights: `t.safetensors`." in text
    assert without_markup(said) in html.unescape(html_page.render(report, None))
