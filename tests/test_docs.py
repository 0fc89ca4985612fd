"""The documents: decision records are complete, links lead somewhere, numbers are written 0.83."""

import re
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
STATUS = re.compile(r"(accepted|tried and left|superseded by .+)(; .+)?\.")


def _text(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def _records(document: Path) -> list[str]:
    return re.split(r"^## ", _text(document), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("document", RECORDS, ids=lambda path: path.stem)
def test_every_decision_has_date_status_context_decision_and_evidence(document):
    records = _records(document)
    assert records
    for record in records:
        title = record.splitlines()[0]
        header = re.search(r"\*\*Date:\*\* (\S+)\. \*\*Status:\*\* (.+)", record)
        assert header, title
        date.fromisoformat(header[1])
        assert STATUS.fullmatch(header[2]), title
        for part in ("Context", "Decision", "Evidence"):
            assert len(re.findall(rf"^\*\*{part}\.\*\* \S", record, re.MULTILINE)) == 1, title


def test_the_index_of_decisions_names_every_theme():
    index = _text(ROOT / "docs" / "decisions.md")
    assert set(re.findall(r"\(decisions/(\S+)\)", index)) == {path.name for path in RECORDS}


def test_the_index_of_results_names_every_theme():
    index = _text(ROOT / "docs" / "results.md")
    there = {path.name for path in (ROOT / "docs" / "results").glob("*.md")}
    assert set(re.findall(r"\(results/(\S+)\)", index)) == there


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_is_short_and_its_links_and_files_exist(document):
    text = _text(document)
    assert len(text.splitlines()) <= 300
    assert "../shared" not in text  # a folder of a workplace, not of the project
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (document.parent / link).exists(), link
    for named in re.findall(r"`((?:docs|tools|recipes|benchmarks)/[\w./-]+)`", text):
        assert (ROOT / named).exists(), named


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_number_has_a_digit_before_its_point(document):
    assert not re.findall(r"(?<![\w.`])\.\d+", _text(document))
