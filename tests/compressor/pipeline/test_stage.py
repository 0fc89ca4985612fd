"""The stage engine on toy stages: what is made, what is skipped, what a kill leaves."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from compressor.pipeline import stage as stages
from compressor.pipeline.stage import Stage
from runtime.files import sha256_of


@dataclass
class Job:
    """What the toy stages are given."""

    folder: Path
    word: str = "hello"
    made: list[str] = field(default_factory=list)
    fails_at: str = ""


def make_copy(job, work):
    job.made.append("copy")
    (work / "copy.txt").write_text(job.word)
    if job.fails_at == "copy":
        raise KeyboardInterrupt


def make_shout(job, work):
    job.made.append("shout")
    (work / "loud").mkdir(exist_ok=True)
    (work / "loud" / "shout.txt").write_text((job.folder / "copy.txt").read_text().upper())


COPY = Stage(
    name="copy",
    summary="",
    outputs=("copy.txt",),
    needs=(),
    inputs=lambda job: {"word": job.word.strip()},
    make=make_copy,
    code=("compressor.data.augmentation",),
)
SHOUT = Stage(
    name="shout",
    summary="",
    outputs=("loud",),
    needs=("copy",),
    inputs=lambda job: {"copy": stages.outputs_digest("copy", job.folder)},
    make=make_shout,
    code=("compressor.data.augmentation",),
)


def run(job):
    job.made.clear()
    for stage in (COPY, SHOUT):
        stages.run_stage(stage, job, job.folder)
    return list(job.made)


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path / "run")


def test_a_second_run_makes_nothing(job):
    assert run(job) == ["copy", "shout"]
    assert (job.folder / "loud" / "shout.txt").read_text() == "HELLO"
    assert run(job) == []
    assert not list((job.folder / ".work").iterdir())


def test_a_changed_input_makes_the_stage_and_what_follows_from_it(job):
    run(job)
    job.word = "bye"
    assert run(job) == ["copy", "shout"]
    assert (job.folder / "loud" / "shout.txt").read_text() == "BYE"


def test_the_same_output_again_leaves_what_follows_alone(job):
    run(job)
    (job.folder / ".stages" / "copy.json").unlink()
    assert run(job) == ["copy"]


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_an_output_that_was_touched_is_made_again(job, damage):
    run(job)
    path = job.folder / "loud" / "shout.txt"
    path.write_text("forged") if damage == "change" else path.unlink()
    assert run(job) == ["shout"]
    assert path.read_text() == "HELLO"


def test_what_a_kill_left_half_written_is_no_output(job):
    job.fails_at = "copy"
    with pytest.raises(KeyboardInterrupt):
        run(job)
    (work,) = (job.folder / ".work").iterdir()
    (work / "half").mkdir()
    (work / "half" / ".shard.npy.123.tmp").write_text("half")
    job.fails_at = ""
    seen = []
    whole = replace(
        COPY, make=lambda job, work: (seen.append(list(work.rglob("*.tmp"))), make_copy(job, work))
    )
    stages.run_stage(whole, job, job.folder)
    assert seen == [[]]


def test_a_killed_stage_leaves_the_old_outputs_and_keeps_its_work(job):
    run(job)
    job.word, job.fails_at = "bye", "copy"
    with pytest.raises(KeyboardInterrupt):
        run(job)
    assert (job.folder / "copy.txt").read_text() == "hello"
    (work,) = (job.folder / ".work").iterdir()
    assert (work / "copy.txt").read_text() == "bye"
    job.fails_at = ""
    assert run(job) == ["copy", "shout"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_kill_between_the_work_and_its_move_loses_nothing(job, moved):
    run(job)
    job.word = "bye"
    # The stage was made and noted, then killed before (or after) its outputs were moved.
    fingerprint = stages._fingerprint(COPY, job)
    work = job.folder / ".work" / f"copy-{fingerprint[:16]}"
    work.mkdir()
    make_copy(job, work)
    record = {
        "fingerprint": fingerprint,
        "outputs": {"copy.txt": sha256_of(work / "copy.txt")},
        "seconds": 5.0,
    }
    (work / "record.json").write_text(json.dumps(record))
    if moved:
        (work / "copy.txt").replace(job.folder / "copy.txt")
    assert run(job) == ["shout"]
    assert (job.folder / "copy.txt").read_text() == "bye"
    assert stages.seconds_of("copy", job.folder) == 5.0


def test_the_plan_says_what_is_cached_and_what_waits(job):
    states = lambda: [state for _, state in stages.plan((COPY, SHOUT), job, job.folder)]  # noqa: E731
    assert states() == ["to do", "waits"]
    assert not job.folder.exists()  # planning touches nothing
    run(job)
    assert states() == ["cached", "cached"]
    job.word = "bye"
    assert states() == ["to do", "waits"]


def test_old_work_is_cleared_when_a_stage_is_done(job):
    stale = job.folder / ".work" / "copy-0123456789abcdef"
    stale.mkdir(parents=True)
    run(job)
    assert not stale.exists()


def test_the_code_that_decides_is_followed_through_its_imports(tmp_path):
    package = tmp_path / "compressor"
    package.mkdir()
    (package / "a.py").write_text("def f():\n    from compressor import b\n")
    (package / "b.py").write_text("import numpy\n")
    (package / "c.py").write_text("x = 1\n")

    def digest():
        stages.code_digest.cache_clear()
        return stages.code_digest(("compressor.a",), tmp_path)

    before = digest()
    (package / "c.py").write_text("x = 2\n")
    assert digest() == before
    (package / "b.py").write_text("import numpy as np\n")
    assert digest() != before
    (package / "a.py").write_text("from compressor import d\n")
    (package / "d").mkdir()
    (package / "d" / "__init__.py").write_text("from compressor.d.e import f\n")
    (package / "d" / "e.py").write_text("f = 1\n")
    before = digest()
    (package / "d" / "e.py").write_text("f = 2\n")
    assert digest() != before
    stages.code_digest.cache_clear()


def test_a_finished_work_folder_without_its_outputs_is_made_again(job):
    run(job)
    fingerprint = stages._fingerprint(COPY, job)
    work = job.folder / ".work" / f"copy-{fingerprint[:16]}"
    work.mkdir()
    (job.folder / ".stages" / "copy.json").rename(work / "record.json")
    (job.folder / "copy.txt").unlink()
    assert run(job)[0] == "copy"
    assert (job.folder / "copy.txt").read_text() == "hello"


def test_other_code_makes_the_stage_again(job):
    from dataclasses import replace

    run(job)
    other = replace(COPY, code=("compressor.distillation.methods.tintem",))
    assert stages.plan((other,), job, job.folder)[0][1] == "to do"
