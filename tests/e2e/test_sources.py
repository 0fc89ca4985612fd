"""A whole job whose images lie in tar shards, with the same result as from a folder."""

import io
import json
import shutil
import tarfile

import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from compressor.cli.app import commands
from compressor.pipeline import labelling, runner
from compressor.pipeline.context import Run
from compressor.recipe.plan import load
from runtime.errors import InputError


def pack(paths, shard):
    """Write images into a shard, each with its class as `.cls`; a copy of it as a folder beside."""
    folder = shard.parent.parent / "folder" / shard.name
    with tarfile.open(shard, "w") as archive:
        for number, path in enumerate(paths):
            name = f"{number:02d}"
            for end, content in ((".png", path.read_bytes()), (".cls", path.parent.name.encode())):
                entry = tarfile.TarInfo(name + end)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            copy = folder / f"{name}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


@pytest.fixture
def place(tmp_path, folder_of_images):
    """Three shards, their images as folders, and a list of the third's with other colours."""
    paths = sorted(folder_of_images.rglob("*.png"))
    (tmp_path / "shards").mkdir()
    for number in range(3):
        pack(paths[number::3], tmp_path / "shards" / f"part-{number}.tar")
    (tmp_path / "other").mkdir()
    others = [tmp_path / "other" / f"{number}.png" for number in range(len(paths[2::3]))]
    for path, other in zip(paths[2::3], others, strict=True):
        ImageOps.invert(Image.open(path).convert("RGB")).save(other)
    (tmp_path / "other.txt").write_text("\n".join(map(str, others)) + "\n")
    shutil.move(tmp_path / "folder" / "part-2.tar", tmp_path / "held-folder")
    shutil.copytree(tmp_path / "held-folder", tmp_path / "folder" / "part-2.tar")
    return tmp_path


def finished(recipe, folder, until=None):
    run = Run(load(recipe), folder)
    with run.locked():
        runner.run_all(run, until=until)
    return run


def test_shards_give_the_same_student_as_a_folder(place, write_recipe):
    changes = {
        "data.images": "shards/part-{0..1}.tar",
        "data.labels": "source",
        "data.holdout": "shards/part-2.tar",
        "data.ood": "other.txt",
        "data.min_images": 8,
        "check.robustness_images": 2,
    }
    run = finished(write_recipe(changes, place / "shards.yaml"), place / "run")
    report = json.loads((run.folder / "report.json").read_text())
    assert report["data"]["images"] == 48
    assert report["data"]["holdout"] == 16
    assert set(report["data"]["classes"]) == {"blue", "red"}
    assert "accuracy_linear" in report["ledger"][-1]
    assert str(place) not in (run.folder / "bundle" / "bundle.json").read_text()
    carried = sorted((run.folder / "bundle" / "golden" / "images").iterdir())
    assert len(carried) == 16
    with tarfile.open(place / "shards" / "part-2.tar") as archive:
        assert carried[0].read_bytes() == archive.extractfile("00.png").read()

    shutil.rmtree(place / "folder" / "part-2.tar")
    alike = changes | {"data.images": "folder", "data.labels": "none"}
    alike |= {"data.holdout": "held-folder", "data.ood": None}
    other = finished(
        write_recipe(alike, place / "folder.yaml"), place / "run-folder", until="distill"
    )
    student = [each.file("student.safetensors").read_bytes() for each in (run, other)]
    assert student[0] == student[1]


def test_images_to_label_are_copied_out_of_the_shards(place, write_recipe):
    changes = {"data.images": "shards/*.tar", "data.labels": "labels.csv", "label.budget": 4}
    run = Run(load(write_recipe(changes, place / "recipe.yaml")), place / "run")
    with run.locked():
        runner.run_all(run)
        written = labelling.write_files(run)
    page = (run.folder / "to_label.html").read_text()
    tasks = json.loads((run.folder / "to_label.json").read_text())
    assert written.selection.open == len(tasks) == 4
    for task in tasks:
        name = task["data"]["image"].partition("?d=")[2]
        assert (run.folder / name).is_file()
        assert f'href="{name}"' in page
    (place / "labels.csv").write_text(
        "image,label\n" + "".join(f"{task['data']['image']},x\n" for task in tasks)
    )
    assert sum(name == "x" for name in _classes(Run(load(place / "recipe.yaml"), run.folder))) == 4


def _classes(run):
    from compressor.pipeline.steps import images

    found = images.look(run)
    return [name for name, count in found.classes.items() for _ in range(count.total)]


def test_a_folder_of_shards_names_the_address_that_is_meant(place, monkeypatch):
    monkeypatch.chdir(place)
    for command in ("init", "audit"):
        said = CliRunner().invoke(commands, [command, "shards"])
        assert isinstance(said.exception, InputError)
        assert "no image files in this folder" in str(said.exception)
        assert "shards/*.tar" in str(said.exception)


def test_init_and_audit_know_shards_and_lists(place, monkeypatch):
    monkeypatch.chdir(place)
    said = CliRunner().invoke(commands, ["init", "shards/part-{0..1}.tar"])
    assert said.exit_code == 0, said.output
    text = (place / "recipe.yaml").read_text()
    assert "images: shards/part-{0..1}.tar" in text
    assert "labels: source" in text
    assert load(place / "recipe.yaml").recipe.data.labels == "source"
    said = CliRunner().invoke(commands, ["audit", "other.txt", "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["counts"]["images"] == 16
