"""Images and labels that cannot be used are refused, and the reasons written down."""

import shutil

import pytest


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
    few = f"{project.images}: 24 files; at least 40 usable images are needed (data.min_images)"
    assert few in refused("run", "recipe.yaml", "--dry-run")
    assert few in refused("run", "recipe.yaml")  # before anything is measured or decoded
    for number in range(20):
        (project.images / f"blue/{number}.txt").write_bytes(b"no image")
    assert "24 usable images; at least 40 are needed (data.min_images)" in refused(
        "run", "recipe.yaml", new=["rejected.csv"]
    )


def test_one_class_folder_only(project, refused):
    shutil.rmtree(project.images / "red")
    message = refused("run", "recipe.yaml")
    assert "data.labels is `folders`, but the images folder has only one class (blue)." in message
    assert "Put each class into a folder of its own, or use a CSV, or `labels: none`." in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,label\nblue/00.png,sky\nblue/99.png,sky\nred/00.png,rose\n",
            "labels.csv:3: no such image below data.images: 'blue/99.png'; did you mean blue/",
        ),
        (
            "file,colour\nblue/00.png,sky\n",
            "labels.csv:1: the columns image,label are needed (or names such as filename,class); "
            "got 'file,colour'",
        ),
        (
            "image,label\nblue/00.png,sky\nred/00.png,rose\nblue/00.png,rose\n",
            "labels.csv:4: blue/00.png is 'rose' here and 'sky' above",
        ),
        ("image,label\nblue/00.png,sky\nred/00.png,sky\n", "labels.csv has only one class (sky)."),
        ("", "labels.csv:1: the columns image,label are needed (or names such as filename,class)"),
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
    message = refused("run", "recipe.yaml")
    assert "data.labels: not folders, source, none, or a CSV file: " in message
