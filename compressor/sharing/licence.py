"""The licence that a student inherits: of the teacher's weights, and of those that it began with.

A rule for the card, not legal advice. Permissive licences (MIT, BSD, Apache) can be joined: the
student gets the one with the most conditions. Any other, such as CC-BY-NC, passes on as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from runtime.results.report import NetworkOrigin, Report
from runtime.text import inert

_PERMISSIVE = (
    *("cc0-1.0", "unlicense", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0"),
    "apache-2.0",
)
"""From the one with the fewest conditions to the one with the most."""
_OF_THE_HUB = frozenset(
    {
        *_PERMISSIVE,
        *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
        *("cc-by-sa-4.0", "cc-by-nd-4.0", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
        *("openrail", "creativeml-openrail-m", "apple-amlr", "fair-noncommercial-research-license"),
    }
)
"""What the field `license` of a card may say; anything else stands under `license_name`."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Licence:
    """The licence of a student."""

    name: str
    """As an identifier such as `apache-2.0`; `unknown` where it does not follow."""
    why: str
    """From which weights it follows, in sentences of Markdown."""

    @property
    def header(self) -> dict[str, str]:
        """The fields of a card's header."""
        if self.name in _OF_THE_HUB:
            return {"license": self.name}
        return {"license": "other", "license_name": self.name}


def inherited(report: Report, said: str | None = None) -> Licence:
    """Return the licence of a run's student.

    Args:
        report: names the weights of teacher and student, with their licences.
        said: what the user says it is; this counts, and what it would have been is told.
    """
    sources = _sources(report)
    found = _of(sources)
    if said is None:
        return found
    return Licence(said.lower(), f"The author of this student says so. {found.why}")


def _sources(report: Report) -> dict[str, str | None]:
    """Return the licence of all weights that the student comes from, by what they are."""
    found = dict[str, str | None]()
    teacher, student = report.teacher, report.student
    if teacher is UNSET or student is UNSET:  # an older report
        return {"the teacher": None}
    found[f"the teacher ({_named(teacher)})"] = _licence(teacher)
    if student.weights != "none":
        found[f"the weights that training began with ({_named(student)})"] = _licence(student)
    return found


def _named(network: NetworkOrigin) -> str:
    return inert(network.hub_id or network.package or network.model)


def _licence(network: NetworkOrigin) -> str | None:
    text = (network.license or "").strip().lower()
    return text if text and text != "the user's" else None


def _of(sources: dict[str, str | None]) -> Licence:
    said = ", ".join(f"{what}: {inert(name or 'not known')}" for what, name in sources.items())
    names = list(dict.fromkeys(sources.values()))
    if None in names:
        return Licence(
            UNKNOWN,
            f"It is not known: {said}. Whoever uses the student has to ask for the licence of "
            "these weights.",
        )
    others = [name for name in names if name is not None and name not in _PERMISSIVE]
    if len(others) > 1:
        return Licence(UNKNOWN, f"The conditions of all of these hold: {said}.")
    if others:
        return Licence(others[0], f"It is inherited: {said}. Its conditions hold for the student.")
    known = [name for name in names if name is not None]
    most = max(known, key=_PERMISSIVE.index)
    return Licence(most, f"It is inherited: {said}.")
