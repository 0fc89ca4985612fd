"""The remaining time of a run: counted work, measured rates, a clock of the test's own."""

import pytest

from compressor.events import (
    Progress,
    StepEnded,
    StepStarted,
    StepWork,
    UncountedStep,
    WorkPlanned,
)
from compressor.observers.eta import Eta, Remaining, duration, text

WORK = WorkPlanned(
    work=(
        StepWork(step="embeddings", unit="teacher batch", count=10, label="teacher on "),
        StepWork(step="features", unit="teacher batch", count=70, label="teacher on view"),
        StepWork(step="distill", unit="student step", count=1_000, label="distilling"),
    )
)
ALL = ("embeddings", "features", "distill")


class Run:
    """Sends the events of a run to an `Eta`, with a clock."""

    def __init__(self):
        self.now = 0.0
        self.eta = Eta(lambda: self.now)

    def send(self, event, after_s=0.0):
        self.now += after_s
        self.eta(event)

    def start(self, step):
        self.send(StepStarted(step=step, summary="", number=1, total=3))

    def advance(self, step, label, done, total, after_s):
        self.send(Progress(step=step, label=label, done=done, total=total), after_s)

    def end(self, step):
        self.send(StepEnded(step=step, state="made", seconds=0.0))


@pytest.fixture
def run():
    return Run()


def test_nothing_is_invented_before_the_work_is_known(run):
    run.start("embeddings")
    run.advance("embeddings", "teacher on images", 5, 10, after_s=5)
    assert run.eta.remaining() is None
    assert text(run.eta.remaining()) == "ETA: estimating"


def test_nothing_is_invented_before_a_rate_is_known(run):
    run.send(WORK)
    assert run.eta.remaining() == Remaining(0.0, ALL)
    run.start("embeddings")
    run.advance("embeddings", "teacher on images", 1, 10, after_s=60)  # the model was loaded, too
    assert run.eta.remaining() == Remaining(0.0, ALL)
    assert text(run.eta.remaining()) == "ETA: estimating"


def test_a_rate_holds_for_every_step_of_its_unit(run):
    run.send(WORK)
    run.start("embeddings")
    run.advance("embeddings", "teacher on images", 1, 10, after_s=60)
    run.advance("embeddings", "teacher on images", 3, 10, after_s=4)  # 2 s a batch
    assert run.eta.remaining() == Remaining(2 * 7 + 2 * 70, ("distill",))
    assert text(run.eta.remaining()) == "ETA: about 3 min, distill on top"


def test_when_all_rates_are_known_there_is_an_eta(run):
    run.send(WORK)
    for step in ("embeddings", "features"):
        run.start(step)
        run.end(step)
    run.start("distill")
    for done in (1, 101):
        run.advance("distill", "distilling", done, 1_000, after_s=10)
    assert run.eta.remaining() == Remaining(89.9, ())
    run.advance("distill", "distilling", 201, 1_000, after_s=30)  # slower: the mean is 0.2 s
    assert run.eta.remaining().seconds == pytest.approx(799 * 0.2)
    run.end("distill")
    assert run.eta.remaining() == Remaining(0.0, ())


def test_a_step_that_ends_early_has_no_work_left(run):
    run.send(WORK)
    run.start("features")
    for done in (1, 2):
        run.advance("features", "teacher on view 2", done, 10, after_s=1)
    run.end("features")
    run.end("embeddings")
    assert run.eta.remaining() == Remaining(
        0.0, ("distill",)
    )  # the student's steps are not measured


def test_what_a_killed_run_had_finished_is_not_counted_again(run):
    run.send(WORK)
    for step in ("embeddings", "features"):
        run.end(step)
    run.start("distill")
    for done in (1, 2):  # it continues after step 900
        run.advance("distill", "distilling", done, 100, after_s=1)
    assert run.eta.remaining().seconds == pytest.approx(98)


def test_other_progress_within_a_step_is_left_alone(run):
    run.send(WORK)
    run.start("distill")
    for done in (1, 2):
        run.advance("distill", "reading", done, 10, after_s=1)
    assert run.eta.remaining() == Remaining(0.0, ALL)


CORRUPTED = tuple(
    StepWork(step="robustness", unit=f"{name}: image", count=50, label=f"{name} on corrupted")
    for name in ("teacher", "student")
)


def test_a_step_may_have_two_pieces_of_work(run):
    run.send(WorkPlanned(work=CORRUPTED))
    run.start("robustness")
    for done in (1, 11):
        run.advance("robustness", "teacher on corrupted images", done, 50, after_s=20)
    assert run.eta.remaining() == Remaining(2 * 39, ("robustness",))  # the student's part
    for done in (1, 11):  # the teacher's others were in the cache
        run.advance("robustness", "student on corrupted images", done, 50, after_s=10)
    assert run.eta.remaining() == Remaining(39, ())
    run.end("robustness")
    assert run.eta.remaining() == Remaining(0.0, ())


def uncounted(step, part, seconds):
    return UncountedStep(step=step, part=part, seconds=seconds)


def test_a_step_without_units_takes_as_long_as_it_last_did(run):
    run.send(WorkPlanned(work=(), uncounted=(
        uncounted("to_onnx", "export", 30.0), uncounted("check", "check", 60.0),
    )))  # fmt: skip
    assert run.eta.remaining() == Remaining(90.0, ())
    run.start("to_onnx")
    run.now += 20
    assert run.eta.remaining() == Remaining(70.0, ())
    run.now += 20  # longer than last time
    assert run.eta.remaining() == Remaining(60.0, ())
    run.end("to_onnx")
    assert text(run.eta.remaining()) == "ETA: about 60 s"


def test_what_is_not_known_comes_on_top(run):
    new = [uncounted(step, "export", None) for step in ("to_onnx", "int8")]
    run.send(WorkPlanned(work=CORRUPTED[:1], uncounted=(*new, uncounted("check", "check", None))))
    assert text(run.eta.remaining()) == "ETA: estimating"
    run.start("robustness")
    for done in (1, 11):
        run.advance("robustness", "teacher on corrupted images", done, 50, after_s=20)
    assert text(run.eta.remaining()) == "ETA: about 78 s, export and check on top"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (5_300, "88 min"), (11_100, "3 h 05 min")],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words
