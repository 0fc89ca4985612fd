"""Wrong arguments of every command, also in a process of its own."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "images"), "images: not a bundle (it has no manifest.json)."),
        (("check", "nowhere"), "nowhere: not a bundle (it has no manifest.json)."),
        (("check", "recipe.yaml"), "recipe.yaml: not a bundle (it has no manifest.json)."),
        (("export", "images"), "images: not the folder of a run (it has no recipe.json)"),
        (("export", "nowhere"), "nowhere: not the folder of a run (it has no recipe.json)"),
        (("init", "images"), "recipe.yaml: is there already; name another one with --recipe"),
        (("init", "imagse", "--recipe", "other.yaml"), "imagse: no such folder"),
        (("audit", "imagse"), "imagse: no such folder"),
        (("audit", "recipe.yaml"), "not the file of a YOLO data set"),
        (("audit", "images", "--labels", "lables.csv"), "lables.csv: No such file"),
        (("quickstart", "images"), "images: contains other files; name another folder"),
        (("quickstart", "recipe.yaml"), "recipe.yaml: not a folder; name another one"),
        (("run",), "Missing argument 'RECIPE'."),
        (("run", "recipe.yaml", "--sett", "a=1"), "No such option"),
        (("rnu", "recipe.yaml"), "No such command 'rnu'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_other_commands(refused, arguments, message):
    assert message in refused(*arguments)


def test_export_of_a_folder_with_another_recipe_json(project, refused):
    (project.images / "recipe.json").write_text('{"flour": 500}')
    assert "images/recipe.json: not written by a run" in refused("export", "images")


def test_a_rehearsal_finds_mistakes_and_touches_nothing(project, refused):
    project.change(student__model="mobilenetv3_smal_050")
    assert "knows no 'mobilenetv3_smal_050'" in refused("run", "recipe.yaml", "--dry-run")
    assert not (project.folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "recpe.yaml"], "error: recpe.yaml: no such file; did you mean recipe.yaml?\n"),
        (["run", "recipe.yaml", "--set", "distill.epohcs=3"], "unknown key; did you mean epochs?"),
        (["check", "images"], "error: images: not a bundle (it has no manifest.json).\n"),
    ],
)
def test_in_a_process_of_its_own(project, arguments, message):
    before = project.snapshot()
    command = [sys.executable, "-m", "compressor", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert project.snapshot() == before
