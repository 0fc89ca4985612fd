"""A machine that lacks something, and folders that are not free."""

import shutil
import subprocess
import sys

import pytest


def test_half_precision_training_on_a_cpu(project, refused):
    project.change(distill__precision="fp16")
    assert "distill.precision is fp16, which needs a GPU; use fp32, bf16" in refused(
        "run", "recipe.yaml", code=3
    )
    assert not (project.folder / "runs").exists()  # found before any work


def test_a_teacher_that_gives_nonsense(project, refused):
    from safetensors.numpy import load_file, save_file

    path = project.folder / "teacher.safetensors"
    weights = load_file(path)
    weights["norm.weight"][:] = float("nan")
    save_file(weights, path)
    project.change()
    message = refused("run", "recipe.yaml")
    assert "teacher.safetensors: 24 of 24 values of norm.weight are not finite" in message
    assert not (project.folder / "runs").exists()  # found before any image is read


def test_cuda_without_a_gpu(project, refused):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    project.change(distill__device="cuda")
    assert "distill.device is cuda, and torch sees no GPU here." in refused(
        "run", "recipe.yaml", code=3
    )


def test_output_folder_below_a_file(refused):
    message = refused("run", "recipe.yaml", "--out", "recipe.yaml/run")
    assert message == "recipe.yaml/run: Not a directory. Choose another folder.\n"


def test_output_folder_that_is_a_file(refused):
    assert "Invalid value for '--out': Directory 'recipe.yaml' is a file." in refused(
        "run", "recipe.yaml", "--out", "recipe.yaml"
    )


def test_folder_where_another_run_is_at_work(project, refused):
    folder = project.folder / "runs" / "tiny"
    folder.mkdir(parents=True)
    hold = "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire()"
    hold += "; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()  # it holds the lock
        message = refused("run", "recipe.yaml")
        other.communicate(b"\n")
    assert message.startswith("runs/tiny: another run is using this folder.\n")
    assert "choose another folder with --out" in message
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_output_folder_that_holds_other_files(project, refused):
    for name in ("bundle/mine.txt", ".mine.tmp"):
        path = project.folder / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    message = refused("run", "recipe.yaml", "--out", "results")
    assert message.startswith("results: holds other files, which a run could overwrite.")
    assert "Name a new folder with --out." in message


def test_out_of_distribution_folder_without_images(project, refused):
    (project.folder / "ood").mkdir()
    (project.folder / "ood" / "notes.txt").write_text("no image")
    project.change(data__ood="ood")
    message = refused("run", "recipe.yaml")
    assert "ood: data.ood has no usable image among 1 files" in message


def test_out_of_distribution_images_that_are_the_tasks_own(project, refused):
    project.change(data__ood="images")
    for more in ([], ["--dry-run"]):
        assert "images: data.ood is data.images" in refused("run", "recipe.yaml", *more)
    shutil.copytree(project.images, project.folder / "copies")
    project.change(data__ood="copies")
    message = refused("run", "recipe.yaml", new=[])
    assert "copies: all 48 images of data.ood are images of the task too, pixel by pixel" in message
    (project.folder / "empty").mkdir()
    project.change(data__ood="empty")
    assert "empty: data.ood has no files" in refused("run", "recipe.yaml", "--dry-run")


@pytest.mark.parametrize("files", [[], ["notes.txt"]])
def test_a_first_recipe_for_a_folder_without_images(project, refused, files):
    (project.folder / "other").mkdir()
    for name in files:
        (project.folder / "other" / name).write_text("x")
    message = refused("init", "other", "--recipe", "other.yaml")
    assert message == "other: no image files in this folder.\n"
    assert not (project.folder / "other.yaml").exists()
