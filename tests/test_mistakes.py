"""What a user does wrong, through the real command line: the code, the message, nothing touched."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from compressor.cli import app

HUB_GONE = "http://127.0.0.1:9"


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


# --- the recipe ------------------------------------------------------------------------------


def test_typo_in_a_key(project, refused):
    project.change(distill__epohcs=3)
    line = project.line_of("epohcs")
    assert refused("run", "recipe.yaml") == (
        f"recipe.yaml:{line}: distill.epohcs: unknown key; did you mean epochs?\n"
    )
    assert not (project.folder / "runs").exists()


def test_typo_in_a_value(project, refused):
    project.change(distill__precision="fp31")
    message = refused("run", "recipe.yaml")
    assert message.startswith(
        f"recipe.yaml:{project.line_of('precision')}: distill.precision: 'fp31' is not one of "
    )
    assert "did you mean fp3" in message


def test_repeated_key(project, refused):
    with project.recipe.open("a") as file:
        file.write("name: again\n")
    line = len(project.recipe.read_text().splitlines())
    assert refused("run", "recipe.yaml") == (
        f"recipe.yaml:{line}: name: this key stands twice in the same section; keep one\n"
    )


def test_several_mistakes_at_once(project, refused):
    project.change(data__holdout=2, distill__epohcs=3, require__agreement=85)
    lines = refused("run", "recipe.yaml").splitlines()
    keys = [line.split(": ")[1] for line in lines]
    assert keys == ["data.holdout", "distill.epohcs", "require.agreement"]


def test_recipe_that_is_not_there(refused):
    assert refused("run", "recpe.yaml") == ("recpe.yaml: no such file; did you mean recipe.yaml?\n")


def test_recipe_that_is_a_folder(refused):
    assert refused("run", "images") == "images: a folder, not a YAML file\n"


def test_recipe_that_is_not_yaml(project, refused):
    project.recipe.write_text("name: tiny\ndata: [\n")
    assert refused("run", "recipe.yaml").startswith("recipe.yaml:3: not valid YAML: ")


def test_recipe_that_is_an_image(refused):
    assert refused("run", "images/blue/00.png") == "images/blue/00.png: not UTF-8 text\n"


def test_agreement_without_labels(project, refused):
    project.change(data__labels="none", require__agreement=0.8)
    assert "require.agreement: needs labels, and data.labels is none" in refused(
        "run", "recipe.yaml"
    )


def test_unknown_target(project, refused):
    project.change(target="jetson-orin-nanoo")
    assert "target: 'jetson-orin-nanoo' is no target; did you mean jetson-orin-nano?" in refused(
        "run", "recipe.yaml"
    )


def test_set_that_is_no_assignment(refused):
    assert refused("run", "recipe.yaml", "--set", "distill.epochs") == (
        "--set distill.epochs: write key.path=value, as in distill.epochs=2\n"
    )


def test_set_of_an_unknown_key(refused):
    assert refused("run", "recipe.yaml", "--set", "distill.epohcs=3") == (
        "--set distill.epohcs=3: distill.epohcs: unknown key; did you mean epochs?\n"
    )


def test_a_mistake_with_json(refused):
    """Stdout has one document also when the command fails."""
    command = [sys.executable, "-m", "compressor", "run", "nowhere.yaml", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wanted = {"error": "nowhere.yaml: no such file", "exit_code": 2}
    assert json.loads(ended.stdout) == wanted
    assert refused(*command[3:]) == "nowhere.yaml: no such file\n"


# --- the images ------------------------------------------------------------------------------


def test_images_folder_that_is_not_there(project, refused):
    project.change(data__images="imagse")
    line = project.line_of("images")
    assert refused("run", "recipe.yaml") == (
        f"recipe.yaml:{line}: data.images: no such folder: {project.folder / 'imagse'}\n"
    )


def test_images_folder_that_is_empty(project, refused):
    (project.folder / "empty").mkdir()
    project.change(data__images="empty")
    assert f"{project.folder / 'empty'}: no files in this folder" in refused("run", "recipe.yaml")


@pytest.mark.parametrize("labels", ["none", "folders"])
def test_folder_of_text_files(project, refused, labels):
    for name in ("a/notes.txt", "b/readme.md"):
        path = project.folder / "texts" / name
        path.parent.mkdir(parents=True)
        path.write_text("no image")
    project.change(data__images="texts", data__labels=labels)
    message = refused("run", "recipe.yaml", new=["rejected.csv"])
    assert "0 usable images; at least 40 are needed (data.min_images). 2 files were rej" in message
    rejected = (project.folder / "runs" / "tiny" / "rejected.csv").read_text()
    assert "a/notes.txt,not an image that Pillow can read" in rejected


def test_too_many_damaged_images(project, refused):
    for path in sorted(project.images.rglob("*.png"))[:10]:
        path.write_bytes(path.read_bytes()[:1000])
    message = refused("run", "recipe.yaml", new=["rejected.csv"])
    assert "10 of 48 images cannot be used (21%; data.max_rejected is 10%)\n  blue/00.png: " in (
        message
    )
    assert "All are in rejected.csv. Repair or remove them, or raise data.max_rejected." in message


def test_too_few_images(project, refused):
    for path in sorted(project.images.rglob("*.png"))[::2]:
        path.unlink()
    assert "24 usable images; at least 40 are needed (data.min_images)" in refused(
        "run", "recipe.yaml", new=["rejected.csv"]
    )


def test_one_class_folder_only(project, refused):
    shutil.rmtree(project.images / "red")
    message = refused("run", "recipe.yaml")
    assert "data.labels is `folders`, but the images folder has 1 classes (blue)." in message
    assert "Put each class into a folder of its own, or use a CSV, or `labels: none`." in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,label\nblue/00.png,sky\nblue/99.png,sky\nred/00.png,rose\n",
            "labels.csv:3: no such image below data.images: 'blue/99.png'; did you mean blue/",
        ),
        (
            "file,class\nblue/00.png,sky\n",
            "labels.csv:1: the columns image,label are needed; got 'file,class'",
        ),
        (
            "image,label\nblue/00.png,sky\nred/00.png,rose\nblue/00.png,rose\n",
            "labels.csv:4: blue/00.png is 'rose' here and 'sky' above",
        ),
        ("image,label\nblue/00.png,sky\nred/00.png,sky\n", "labels.csv has 1 classes (sky)."),
        ("", "labels.csv:1: the columns image,label are needed; got ''"),
    ],
    ids=["unknown image", "header", "conflict", "one class", "empty"],
)
def test_label_csv(project, refused, text, message):
    (project.folder / "labels.csv").write_text(text)
    project.change(data__labels="labels.csv")
    assert message in refused("run", "recipe.yaml")


def test_label_csv_that_is_not_there(project, refused):
    project.change(data__labels="lables.csv")
    message = refused("run", "recipe.yaml")
    assert f"data.labels: no such file: {project.folder / 'lables.csv'}" in message
    assert "a section `label:` says which images to label in it first" in message
    project.change(data__labels="lables")
    assert "data.labels: not folders, none, or a CSV file: " in refused("run", "recipe.yaml")


# --- teacher and student ---------------------------------------------------------------------


def test_teacher_weights_that_are_not_there(project, refused):
    project.change(teacher__weights="techer.safetensors")
    assert f"teacher.weights: no such file: {project.folder / 'techer.safetensors'}" in refused(
        "run", "recipe.yaml"
    )


def test_teacher_weights_of_another_model(project, refused):
    project.change(teacher__args={"img_size": 32, "patch_size": 16, "embed_dim": 48, "depth": 1})
    message = refused("run", "recipe.yaml")
    assert "teacher.safetensors: these weights do not fit teacher.model vit_tiny_patch16" in message
    assert "of another shape: cls_token [1, 1, 24] in the file, [1, 1, 48] in the model" in message


def test_teacher_weights_that_are_garbage(project, refused):
    (project.folder / "teacher.safetensors").write_bytes(b"<html>please log in</html>")
    assert "teacher.safetensors: not a whole .safetensors file" in refused("run", "recipe.yaml")


def test_unknown_teacher(project, refused):
    project.change(teacher__model="vit_tiny_patch16_242")
    assert "knows no 'vit_tiny_patch16_242'; did you mean vit_tiny_patch16_224" in refused(
        "run", "recipe.yaml"
    )


def test_unknown_student(project, refused):
    project.change(student__model="mobilenetv3_smal_050")
    assert "student.model: timm " in (message := refused("run", "recipe.yaml"))
    assert "knows no 'mobilenetv3_smal_050'; did you mean mobilenetv3_small_050" in message
    assert not (project.folder / "runs").exists()


def test_embedding_width_for_a_transformer(project, refused):
    project.change(student__model="vit_tiny_patch16_224", student__embedding=64)
    assert "student.embedding: vit_tiny_patch16_224 is a transformer and keeps its own width" in (
        refused("run", "recipe.yaml")
    )
    assert not (project.folder / "runs").exists()


def test_hub_that_cannot_be_reached(project, refused, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project.folder.parent / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", HUB_GONE)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    project.change(teacher__weights="hub")
    message = refused("run", "recipe.yaml", code=3)
    assert f"teacher.weights: the model hub {HUB_GONE} cannot be reached from here." in message
    assert f"{HUB_GONE}/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k/resolve/main/" in message
    assert "      weights: model.safetensors" in message


# --- the machine and the folders -------------------------------------------------------------


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
    message = refused("run", "recipe.yaml", new=["dataset.json"])
    assert "teacher: 768 of 768 features are not finite in " in message
    assert "are the weights damaged?" in message


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
    assert message == "recipe.yaml/run: Not a directory. Choose another folder with --out.\n"


def test_output_folder_that_is_a_file(refused):
    assert "Invalid value for '--out': Directory 'recipe.yaml' is a file." in refused(
        "run", "recipe.yaml", "--out", "recipe.yaml"
    )


def test_folder_where_another_run_is_at_work(project, refused):
    folder = project.folder / "runs" / "tiny"
    folder.mkdir(parents=True)
    hold = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, 2)"
    hold += "; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()  # it holds the lock
        message = refused("run", "recipe.yaml")
        other.communicate(b"\n")
    assert message.startswith("runs/tiny: another run is at work in this folder.\n")
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


# --- other commands --------------------------------------------------------------------------


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
        (("audit", "recipe.yaml"), "recipe.yaml: no such folder"),
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


# --- the same in a process of its own --------------------------------------------------------


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
