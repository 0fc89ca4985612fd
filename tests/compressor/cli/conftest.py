"""A user's project, and commands in it that are refused: code and message, nothing touched."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from compressor.cli import app


@dataclass
class Project:
    """A user's folder: 48 images in two class folders, a teacher, a recipe; it is the cwd."""

    folder: Path
    write_recipe: object

    @property
    def images(self):
        return self.folder / "images"

    @property
    def recipe(self):
        return self.folder / "recipe.yaml"

    def change(self, **changes):
        """Change keys of the recipe: `data__labels="none"`."""
        mine = {"data.images": "images", "teacher.weights": "teacher.safetensors"}
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        self.write_recipe({**mine, **dotted}, self.recipe)

    def line_of(self, key):
        lines = self.recipe.read_text().splitlines()
        return next(n for n, line in enumerate(lines, 1) if line.strip().startswith(f"{key}:"))

    def snapshot(self):
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def project(tmp_path, monkeypatch, folder_of_images, tiny_teacher, write_recipe):
    project = Project(tmp_path / "project", write_recipe)
    shutil.copytree(folder_of_images, project.images)
    shutil.copy(tiny_teacher["weights"], project.folder / "teacher.safetensors")
    project.change()
    monkeypatch.chdir(project.folder)
    return project


@pytest.fixture
def refused(project, monkeypatch, capfd):
    """Type a command and see it refused; gives what it says.

    Nothing that was there may be changed, and what is new may only lie in the run's folder.
    """
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")  # as the command itself sets them, but undone afterwards

    def refused(*arguments, code=2, new=()):
        before = project.snapshot()
        monkeypatch.setattr(sys, "argv", ["compressor", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capfd.readouterr()
        assert ended.value.code == code
        assert "Traceback" not in out + err
        assert "--json" in arguments or not out
        after = project.snapshot()
        assert {name: after.get(name) for name in before} == before
        added = {name for name in after if name not in before}
        assert all(name.startswith("runs/tiny/") for name in added)
        assert {f"runs/tiny/{name}" for name in new} <= added
        if not new and code == 2:
            assert not [name for name in added if name.endswith((".safetensors", ".onnx"))]
        return err.partition("error: ")[2] or err

    return refused
