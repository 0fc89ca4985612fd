"""What a check looks into beyond the ledger: disagreements, classes, corruptions."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from runtime.results.scores import Score


class Doubt(Struct, frozen=True):
    """What a reader must not miss: what happened, and what it means."""

    key: str
    lead: str = field(name="what")
    rest: str = field(name="meaning")

    @property
    def markdown(self) -> str:
        """With the lead in bold."""
        return f"**{self.lead}** {self.rest}"


class Answer(Struct, frozen=True):
    """An answer with its calibrated probability."""

    answer: str | None
    confidence: float


class Disagreement(Struct, frozen=True):
    """A held-out image, and how far the file is from the teacher on it."""

    image: str
    label: str | UnsetType | None = UNSET
    teacher: Answer | UnsetType = UNSET
    deployed: Answer | UnsetType = UNSET
    distance: float = field(default=0.0)


class TeacherUnsure(Struct, frozen=True):
    """The images of which the teacher itself is unsure."""

    below: float
    """The confidence under which the teacher counts as unsure."""
    images: int
    agreement_where_sure: Score | UnsetType = UNSET
    agreement_where_unsure: Score | UnsetType = UNSET
    most: tuple[Disagreement, ...] = ()


class Disagreements(Struct, frozen=True):
    """The images on which the file differs most from the teacher, if that can be measured."""

    measure: str | UnsetType = UNSET
    """What the distance is."""
    most: tuple[Disagreement, ...] | UnsetType = UNSET
    teacher_unsure: TeacherUnsure | UnsetType = UNSET


class ClassResult(Struct, frozen=True):
    """A class: right answers of teacher and file, and what it is taken for."""

    name: str = field(name="class")
    images: int
    accuracy_teacher: Score
    accuracy_deployed: Score
    loss: Score
    agreement: Score
    taken_for: str | None


class FamilyResult(Struct, frozen=True):
    """One family of corruptions: each score at severities 1 to 5."""

    family: str
    series: dict[str, tuple[Score, ...]]


class RobustnessEntry(Struct, frozen=True):
    """Teacher, student or deployed file over all corruptions."""

    stage: str
    scores: dict[str, Score]
    families: tuple[FamilyResult, ...]


class Robustness(Struct, frozen=True):
    """What corruptions of held-out images do to teacher, student and deployed file."""

    name: str
    families: dict[str, tuple[str, ...]]
    severities: tuple[int, ...]
    images: int
    lines: tuple[RobustnessEntry, ...]
