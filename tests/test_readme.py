"""The README is true: commands, files and recipe exist, and the tree shows the real folders."""

import importlib
import importlib.util
import re
from pathlib import Path

from compressor.cli.app import commands
from compressor.recipe import target

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_shown_exists():
    shown = re.findall(r"^compressor (\w+)", README, re.MULTILINE)
    assert len(shown) >= 4
    assert set(shown) <= set(commands.commands)


def test_every_file_named_is_there_or_made_by_a_run():
    named = re.findall(r"`((?:docs|tools|recipes)/[\w./-]+)`", README)
    assert named
    assert all((ROOT / name).exists() for name in named)


def test_the_two_commands_are_the_makefiles():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("quickstart", "test"):
        assert f"make {name}" in README
        assert re.search(rf"^{name}:", makefile, re.MULTILINE)
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_recipe_shown_is_one(tmp_path):
    from compressor.recipe import plan as plans

    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    for folder in ("photos", "other-photos"):
        (tmp_path / folder).mkdir()
    plan = plans.load(tmp_path / "recipe.yaml")
    assert plan.recipe.teacher.model == "vit_small_patch14_dinov2.lvd142m"


def test_the_recipe_that_init_writes_is_one(tmp_path):
    from compressor.api.first_recipe import first_look, starter_recipe
    from compressor.recipe import plan as plans

    for name in ("red", "blue"):
        (tmp_path / "my photos" / name).mkdir(parents=True)
        (tmp_path / "my photos" / name / "1.png").touch()
    text = starter_recipe(first_look(tmp_path / "my photos"), relative_to=tmp_path)
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    plan = plans.load(tmp_path / "recipe.yaml")
    assert plan.recipe.data.labels == "folders"
    assert plan.recipe.name == "my-photos-cpu"


def test_the_python_shown_uses_names_that_exist():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for block in blocks:
        compile(block, "README.md", "exec")
    shown = set(re.findall(r"\b(compressor|export|runtime)\.(\w+)\(", "".join(blocks)))
    assert {("compressor", "compress"), ("compressor", "run"), ("runtime", "load")} <= shown
    for package, name in shown:
        assert callable(getattr(importlib.import_module(package), name)), (package, name)


def test_the_changelog_names_every_target():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in changelog for name in target.names())


def test_the_tree_shows_the_folders_that_exist():
    spec = importlib.util.spec_from_file_location("room_tree", ROOT / "tools" / "room_tree.py")
    room_tree = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(room_tree)
    (shown,) = re.findall(r"```\n(├──.*?)```", README, re.DOTALL)
    folders, expected = (
        re.findall(r"^[│ ]*[├└]── \S+", text, re.MULTILINE) for text in (shown, room_tree.tree())
    )
    assert folders == expected, "run: python tools/room_tree.py"


def test_the_answers_for_contributors_are_paths_that_exist():
    _, contributors = README.split("## For contributors")
    answers = dict(re.findall(r"^\| ([^|]+\?) \| (.+) \|$", contributors, re.MULTILINE))
    assert sum(question.count("?") for question in answers) >= 10
    for question, answer in answers.items():
        paths = re.findall(r"`([\w./-]+)`", answer)
        assert paths, question
        for path in paths:
            assert (ROOT / path).exists(), (question, path)


def test_recipes_and_targets_are_listed():
    listed = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    assert set(target.names()) <= set(re.findall(r"^\| `([\w-]+)` \|", listed, re.MULTILINE))
    assert all((ROOT / "recipes" / name).exists() for name in re.findall(r"`(\S+\.yaml)`", listed))


def test_the_table_shows_the_steps_of_a_run_in_order(tmp_path):
    from compressor.pipeline.context import Run
    from compressor.pipeline.step_list import BEFORE_SELECTION, steps_of
    from compressor.recipe import plan as plans

    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    export = (
        "export: {precisions: [fp32, fp16, int8], formats: [ncnn, litert], "
        "engines: [tensorrt-rtx], input: uint8}\n"
    )
    (tmp_path / "recipe.yaml").write_text(text + export, encoding="utf-8")
    for folder in ("photos", "other-photos"):
        (tmp_path / folder).mkdir()
    steps = steps_of(Run(plans.load(tmp_path / "recipe.yaml"), tmp_path / "run"))
    _, table = README.split("| step | makes |\n|---|---|\n", 1)
    rows = table.split("\n\n", 1)[0].splitlines()
    shown = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert shown[len(BEFORE_SELECTION)] == "selection"
    assert [name for name in shown if name != "selection"] == [step.name for step in steps]
