"""The engine on toy steps: what is made, what is found, what a kill leaves."""

import os
import shutil
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from compressor.events import Message
from compressor.pipeline import engine
from compressor.pipeline.context import Run
from compressor.pipeline.step import Step
from compressor.pipeline.storage.cache import shared_store


@dataclass
class Recipe:
    """What stands for a plan: one word decides everything."""

    word: str = "hello"
    device: str = "cpu"
    made: list[str] = field(default_factory=list)
    fails_at: str = ""

    @property
    def recipe(self):
        return SimpleNamespace(distill=SimpleNamespace(device=self.device))


def make_copy(run, work):
    run.plan.made.append("copy")
    (work / "copy.txt").write_text(run.plan.word)
    if run.plan.fails_at == "copy":
        raise KeyboardInterrupt


def make_large(run, work):
    run.plan.made.append("large")
    (work / "large").mkdir(exist_ok=True)
    (work / "large" / "file").write_text(run.file("copy.txt").read_text() * 100)


def make_shout(run, work):
    run.plan.made.append("shout")
    (work / "loud").mkdir(exist_ok=True)
    text = (run.file("large") / "file").read_text() + run.file("copy.txt").read_text()
    (work / "loud" / "shout.txt").write_text(text.upper())


COPY = Step(
    name="copy",
    summary="",
    version=1,
    products=("copy.txt",),
    needs=(),
    inputs=lambda run: {"word": run.plan.word.strip()},  # type: ignore[attr-defined]
    make=make_copy,
)
LARGE = Step(
    name="large",
    summary="",
    version=1,
    products=(),
    kept=("large",),
    needs=("copy",),
    inputs=lambda run: {"copy": run.outputs("copy")},
    make=make_large,
)
SHOUT = Step(
    name="shout",
    summary="",
    version=1,
    products=("loud",),
    needs=("copy", "large"),
    inputs=lambda run: {"copy": run.outputs("copy"), "large": run.outputs("large")},
    make=make_shout,
)
STEPS = (COPY, LARGE, SHOUT)


@pytest.fixture
def plan():
    return Recipe()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def go(plan, folder, steps=STEPS, said=None):
    """Run the steps as a new process would; which ones were made."""
    plan.made.clear()
    observer = lambda event: said.append(event.text) if isinstance(event, Message) else None  # noqa: E731
    run = Run(plan, folder, observer if said is not None else lambda event: None)
    with run.locked():
        engine.attach(run, steps)
        for step in steps:
            engine.run_step(step, run)
    return list(plan.made)


def states(plan, folder, steps=STEPS):
    return [state for _, state in engine.plan(steps, Run(plan, folder))]


def test_a_second_run_makes_nothing(plan, folder):
    assert go(plan, folder) == ["copy", "large", "shout"]
    assert (folder / "loud" / "shout.txt").read_text() == "HELLO" * 101
    assert go(plan, folder) == []
    assert not (folder / "large").exists()  # large outputs stay in the store


def test_a_changed_input_makes_the_step_and_what_follows_from_it(plan, folder):
    go(plan, folder)
    plan.word = "bye"
    assert go(plan, folder) == ["copy", "large", "shout"]
    assert (folder / "loud" / "shout.txt").read_text() == "BYE" * 101


def test_the_same_output_again_leaves_what_follows_alone(plan, folder):
    go(plan, folder)
    assert go(plan, folder, (replace(COPY, version=2), LARGE, SHOUT)) == ["copy"]


def test_a_new_version_makes_the_step_again(plan, folder):
    go(plan, folder)
    assert states(plan, folder, (COPY, replace(LARGE, version=2), SHOUT))[1:] == ["to do", "waits"]


def test_another_folder_only_gets_copies(plan, folder, tmp_path):
    go(plan, folder)
    other = tmp_path / "elsewhere" / "run"
    assert states(plan, other) == ["stored"] * 3
    assert go(plan, other) == []
    assert (other / "loud" / "shout.txt").read_text() == "HELLO" * 101


def test_another_device_goes_on_in_the_folder_but_shares_no_network_output(plan, folder, tmp_path):
    network = replace(COPY, libraries=("torch",))
    go(plan, folder, (network,))
    plan.device = "cuda"
    assert states(plan, folder, (network,)) == ["cached"]
    assert states(plan, tmp_path / "other", (network,)) == ["to do"]
    go(plan, folder, (COPY,))
    plan.device = "cpu"
    assert states(plan, tmp_path / "other", (COPY,)) == ["stored"]


def test_a_step_that_is_not_shared_is_made_in_each_folder(plan, folder, tmp_path):
    own = replace(COPY, shared=False)
    assert go(plan, folder, (own,)) == ["copy"]
    assert go(plan, tmp_path / "other", (own,)) == ["copy"]
    (folder / "copy.txt").unlink()
    assert go(plan, folder, (own,)) == []


def test_a_step_may_only_read_what_it_needs(plan, folder):
    secret = replace(SHOUT, needs=("copy",))
    with pytest.raises(LookupError, match="step 'shout' reads 'large', which its needs lack"):
        go(plan, folder, (COPY, LARGE, secret))


# --- files that were touched, changed or removed ---------------------------------------------


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_product_that_is_not_as_it_was_is_copied_again(plan, folder, damage):
    go(plan, folder)
    path, said = folder / "loud" / "shout.txt", []
    path.write_text("forged") if damage == "change" else path.unlink()
    assert go(plan, folder, said=said) == []
    assert path.read_text() == "HELLO" * 101
    assert said == [f"{path}: missing or changed since it was made; made again"]


def test_a_product_that_was_only_touched_is_unchanged(plan, folder, tmp_path):
    go(plan, folder)
    os.utime(folder / "copy.txt", (1, 1))
    shared_store().clear()
    assert states(plan, folder) == ["cached"] * 3
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert states(plan, moved) == ["cached"] * 3


def test_a_cleared_store_makes_nothing_again(plan, folder):
    go(plan, folder)
    shared_store().clear()
    assert states(plan, folder) == ["cached"] * 3
    assert go(plan, folder) == []


def test_a_large_output_is_made_again_when_a_step_that_must_run_needs_it(plan, folder):
    go(plan, folder)
    shared_store().clear()
    said = []
    assert go(plan, folder, (COPY, LARGE, replace(SHOUT, version=2)), said) == ["shout", "large"]
    assert said == ["large: no longer in the cache, made again"]


def test_a_damaged_file_of_the_store_is_made_again(plan, folder, tmp_path):
    go(plan, folder)
    for path in shared_store().folder.rglob("copy.txt"):
        path.write_text("HELLO")  # the same size
    said = []
    assert go(plan, tmp_path / "other", said=said) == ["copy"]
    assert "damaged; removed from the cache" in said[0]
    assert (tmp_path / "other" / "copy.txt").read_text() == "hello"


# --- kills ------------------------------------------------------------------------------------


def test_a_killed_step_leaves_the_old_outputs(plan, folder):
    go(plan, folder)
    plan.word, plan.fails_at = "bye", "copy"
    with pytest.raises(KeyboardInterrupt):
        go(plan, folder)
    assert (folder / "copy.txt").read_text() == "hello"
    plan.fails_at = ""
    assert go(plan, folder) == ["copy", "large", "shout"]


@pytest.mark.parametrize("placed", [False, True])
def test_a_kill_before_it_is_recorded_loses_nothing(plan, folder, tmp_path, placed):
    """The outputs are in the store, and perhaps copied; steps.json does not know of it yet."""
    go(plan, folder)
    before = (folder / "steps.json").read_bytes()
    plan.word = "bye"
    go(plan, folder if placed else tmp_path / "other")
    (folder / "steps.json").write_bytes(before)
    assert go(plan, folder) == []
    assert (folder / "loud" / "shout.txt").read_text() == "BYE" * 101


def test_a_kill_while_a_folder_is_exchanged_leaves_no_rest(plan, folder):
    go(plan, folder)
    (folder / "loud").rename(folder / ".loud.old.tmp")
    (folder / ".loud.new.tmp").mkdir()
    assert go(plan, folder) == []
    assert (folder / "loud" / "shout.txt").exists()
    assert not list(folder.glob(".*.tmp"))


# --- planning, older versions -----------------------------------------------------------------


def test_the_plan_touches_nothing(plan, folder):
    assert states(plan, folder) == ["to do", "waits", "waits"]
    assert not folder.exists()
    assert not shared_store().folder.exists()


def test_a_folder_of_an_older_version_is_made_anew_and_the_users_files_stay(plan, folder):
    for name in (".stages", "features"):
        (folder / name).mkdir(parents=True)
    for name in (".lock", "to_label.csv", ".stages/copy.json", "features/view.npy"):
        (folder / name).write_text("x")
    said = []
    assert go(plan, folder, said=said) == ["copy", "large", "shout"]
    assert said == [f"{folder}: from an older version; its steps are made again"]
    names = {path.name for path in folder.iterdir()}
    assert names == {".lock", "to_label.csv", "copy.txt", "loud", "steps.json"}
