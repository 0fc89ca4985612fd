"""Which licence a student inherits, from every kind of weights."""

import pytest
from msgspec import UNSET, structs

from compressor.sharing.licence import inherited
from runtime.results.report import NetworkOrigin, load


def network(licence, *, weights="hub", name="owner/weights"):
    return NetworkOrigin(model="vit", weights=weights, hub_id=name, license=licence)


SCRATCH = network(None, weights="none", name=None)


@pytest.fixture
def report(finished_run):
    return load(finished_run)


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        ("apache-2.0", SCRATCH, "apache-2.0"),
        ("mit", network("apache-2.0"), "apache-2.0"),
        ("apache-2.0", network("mit"), "apache-2.0"),
        ("cc-by-nc-4.0", network("apache-2.0"), "cc-by-nc-4.0"),
        ("apache-2.0", network("CC-BY-NC-4.0"), "cc-by-nc-4.0"),
        ("dinov3-license", SCRATCH, "dinov3-license"),
        ("cc-by-nc-4.0", network("gpl-3.0"), "unknown"),
        (None, SCRATCH, "unknown"),
        ("the user's", network("mit"), "unknown"),
        ("mit", network(None), "unknown"),
    ],
)
def test_the_licence_with_the_most_conditions_passes_on(report, teacher, student, expected):
    found = inherited(structs.replace(report, teacher=network(teacher), student=student))
    assert found.name == expected
    assert (teacher or "not known").replace("the user's", "not known") in found.why


def test_a_licence_that_the_hub_does_not_know_stands_under_its_name(report):
    changed = structs.replace(report, teacher=network("dinov3-license"), student=SCRATCH)
    header = inherited(changed).header
    assert header == {"license": "other", "license_name": "dinov3-license"}


def test_an_older_report_does_not_say_it(report):
    older = structs.replace(report, teacher=UNSET, student=UNSET)
    assert inherited(older).name == "unknown"


def test_what_the_user_says_counts_and_what_it_would_have_been_is_told(report):
    changed = structs.replace(report, teacher=network("cc-by-nc-4.0"), student=SCRATCH)
    found = inherited(changed, "MIT")
    assert found.name == "mit"
    assert "cc-by-nc-4.0" in found.why
