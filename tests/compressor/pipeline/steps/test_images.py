"""Images of another task are no images of this one, whatever their names are."""

import csv
import shutil

import pytest
from PIL import Image

from compressor.api import job as jobs
from compressor.pipeline import runner
from compressor.pipeline.steps import images


@pytest.fixture
def images_of(write_recipe, tmp_path):
    """Run the step `images`; the run, and what it said."""

    def go(changes):
        said: list[str] = []

        def hear(event):
            said.append(getattr(event, "text", ""))

        job = jobs.open_job(write_recipe(changes), (), tmp_path / "run", hear)
        with job.locked():
            runner.run_images(job)
        return job, said

    return go


def test_copies_of_the_tasks_images_are_left_out_of_data_ood(images_of, tmp_path, folder_of_images):
    ood = tmp_path / "ood"
    ood.mkdir()
    for level in (10, 200, 90):
        Image.new("RGB", (32, 32), (level, 255, level)).save(ood / f"{level}.png")
    for number, name in enumerate(("blue/00.png", "red/03.png")):
        shutil.copy(folder_of_images / name, ood / f"copy{number}.png")
    run, said = images_of({"data.ood": str(ood)})
    assert not [name for name in run.ood_ids() if "copy" in name]
    assert len(run.ood_ids()) == 3
    assert "data.ood: 2 of 5 images are images of the task too" in "\n".join(said)
    with run.file("rejected.csv").open(encoding="utf-8", newline="") as file:
        reasons = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert [reason for name, reason in reasons.items() if "copy0" in name] == [
        "of data.ood, with the pixels of blue/00.png, an image of the task"
    ]


def test_nearly_black_images_are_told(images_of, tmp_path, folder_of_images):
    folder = tmp_path / "photos"
    shutil.copytree(folder_of_images, folder)
    Image.new("L", (32, 32), 15).save(folder / "red" / "15.black.png")
    Image.new("L", (32, 32), 16).save(folder / "red" / "16.grey.png")
    _, said = images_of({"data.images": str(folder)})
    (line,) = (text for text in said if "nearly black" in text)
    assert line.startswith(
        "1 of 50 images are nearly black, such as red/15.black.png. Files of 16 "
    )


def test_a_data_ood_within_the_images_folder_is_told(write_recipe, tmp_path, folder_of_images):
    folder = tmp_path / "photos"
    shutil.copytree(folder_of_images, folder)
    (folder / "odd").mkdir()
    for number in range(5):
        (folder / "red" / f"{number:02d}.png").rename(folder / "odd" / f"{number}.png")
    changes = {"data.images": str(folder), "data.ood": str(folder / "odd")}
    job = jobs.open_job(write_recipe(changes), (), tmp_path / "run", print)
    lines = images.look(job).lines
    assert "  data.ood lies in data.images: its 5 files are no images of the task" in lines
    assert lines[0].endswith("2 classes: blue 24, red 19")
