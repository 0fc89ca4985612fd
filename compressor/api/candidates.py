"""Students and teachers compared before any run: by latency, size and faithfulness."""

from __future__ import annotations

from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.pipeline.settling import latencies, student_search, teachers
from compressor.pipeline.settling.candidates import candidates
from compressor.pipeline.settling.teachers import TeacherComparison
from runtime.results.making import StudentSearch


def compare_students(job: Run) -> StudentSearch:
    """Measure every student that the recipe's target names; its `chosen` is empty if none fits.

    The images are read as by a run, in the folder of the run, which need not be there.

    Args:
        job: an open job; where this machine is not its target and it has no table of latencies,
            only sizes are compared with `require`.

    Raises:
        InputError: recipe, images, weights or the table of latencies are wrong.
        MissingDependencyError: weights that are neither cached nor reachable.
    """
    limits, measurable = student_search.limits_of(job.plan), latencies.measurable(job.plan)
    if not measurable:
        limits.pop("latency_p95_ms", None)
    with job.locked():
        able = list(candidates(job.plan, download=True))
        if any(candidate.has_weights for candidate in able):
            runner.refuse_teacher_early(job)
            runner.run_images(job)
        return student_search.survey(job, able, limits, timed=measurable)


def compare_teachers(job: Run, wanted: str) -> TeacherComparison:
    """Compare teachers for the recipe's student, which needs weights.

    Args:
        job: an open job; its own teacher is compared only if it is asked for.
        wanted: `MODEL[@PIXELS]`, separated by commas.

    Raises:
        InputError: as for `compare_students`; or a name or a size is wrong.
        MissingDependencyError: weights that are neither cached nor reachable.
    """
    with job.locked():
        runner.run_images(job)
        return teachers.compare(job, wanted)
