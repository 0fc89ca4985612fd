"""Stores that fsspec reaches: S3's own client and http, against a real server on this machine."""

import logging
import zipfile

import fsspec
import pytest
from click.testing import CliRunner

from compressor.cli.app import commands
from compressor.data.sources import source as protocol
from compressor.data.sources.opened import opened
from compressor.data.sources.stores import store
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe.plan import load
from image_folders import audit, ids, jpeg
from object_store import SECRET
from runtime.errors import InputError, MissingDependencyError


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(store, "WAITS_S", (0.01, 0.02))


@pytest.fixture
def photos(object_store):
    """Twenty images in two folders, a note and a hidden file; the content by name."""
    content = {f"{'cat' if n % 2 else 'dog'}/{n:02d}.jpg": jpeg(n) for n in range(20)}
    for name, image in content.items():
        object_store.put(f"bucket/photos/{name}", image)
    object_store.put("bucket/photos/notes.txt", b"a note")
    object_store.put("bucket/photos/.hidden.jpg", b"x")
    object_store.put("bucket/other/1.jpg", jpeg(99))
    return content


def refusal(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_prefix_of_s3_is_a_folder(photos):
    source = opened("s3://bucket/photos")
    assert list(source.names) == sorted(photos)
    assert source.notes == ["left out: 2 files that are not named like images"]
    assert {name: source.read(name) for name in source.names} == photos
    found = audit(source, labels="folders")
    assert found.images.classes == ("cat", "dog")
    assert ids(found) == sorted(photos)
    assert str(source / "cat/01.jpg") == "s3://bucket/photos/cat/01.jpg"


def test_the_fingerprint_changes_with_an_object(photos, object_store):
    before = opened("s3://bucket/photos").fingerprint()
    assert opened("s3://bucket/photos").fingerprint() == before
    object_store.put("bucket/photos/cat/01.jpg", jpeg(77))
    assert opened("s3://bucket/photos").fingerprint() != before


def test_shards_in_s3_are_read_in_place(webdataset, tmp_path, object_store):
    for path in (tmp_path / "shards").iterdir():
        object_store.put(f"bucket/shards/{path.name}", path.read_bytes())
    local = opened(tmp_path / "shards" / "*.tar")
    for address in ("s3://bucket/shards/train-{000..001}.tar", "s3://bucket/shards/*.tar"):
        source = opened(address)
        assert list(source.names) == list(local.names)
        assert source.labels() == local.labels()
        object_store.requests.clear()
        assert {name: source.read(name) for name in source.names} == webdataset
        assert object_store.requests["bucket/shards/train-000.tar"] == 4  # one each
    said = refusal(opened, "s3://bucket/shards/train-{000..002}.tar")
    assert said == "s3://bucket/shards/train-002.tar: not there"


def test_a_shard_cut_short_in_a_store_is_named(webdataset, tmp_path, object_store):
    content = (tmp_path / "shards" / "train-000.tar").read_bytes()
    object_store.put("bucket/train-000.tar", content[:2000])
    said = refusal(opened, f"{object_store.http}/bucket/train-000.tar")
    assert said.startswith(f"{object_store.http}/bucket/train-000.tar: cut short: ")


def test_a_list_over_http_names_images_beside_it(photos, object_store):
    lines = "\n".join(["cat/01.jpg", "", "./dog/02.jpg"])
    object_store.put("bucket/photos/list.txt", lines.encode())
    source = opened(f"{object_store.http}/bucket/photos/list.txt")
    assert list(source.names) == ["cat/01.jpg", "dog/02.jpg"]
    assert source.read("cat/01.jpg") == photos["cat/01.jpg"]
    object_store.put("bucket/photos/list.txt", b"cat/01.jpg\n../other/1.jpg\n")
    said = refusal(opened, f"{object_store.http}/bucket/photos/list.txt")
    assert said.endswith("list.txt:2: a path below the list's own folder is wanted")


def test_a_zip_file_is_read_in_place(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in photos.items():
            archive.writestr(f"photos/{name}", content)
    source = opened(tmp_path / "photos.zip")
    assert list(source.names) == [f"photos/{name}" for name in sorted(photos)]
    assert source.read("photos/cat/01.jpg") == photos["cat/01.jpg"]
    below = opened(f"zip://photos/cat::{tmp_path}/photos.zip")
    assert list(below.names) == [f"{n:02d}.jpg" for n in range(1, 20, 2)]
    assert audit(source, labels="folders").images.classes == ("cat", "dog")


def test_an_object_that_would_fill_the_memory_is_a_broken_image(photos, monkeypatch):
    source = opened("s3://bucket/photos/cat/*.jpg")
    monkeypatch.setattr(protocol, "MOST_BYTES", 10)
    found = audit(source)
    assert len(found.rejected) == 10
    assert "absurdly large" in found.rejected[0].reason


def test_memory_and_patterns(photos):
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/photos/{name}": content for name, content in photos.items()})
    try:
        assert list(opened("memory://photos").names) == sorted(photos)
        assert len(opened("memory://photos/cat/*.jpg").names) == 10
    finally:
        memory.rm("/photos", recursive=True)


def test_403_is_said_once_and_not_tried_again(photos, object_store):
    source = opened("s3://bucket/photos")
    object_store.refuses.add("*")
    object_store.requests.clear()
    said = refusal(audit, source)
    assert said.startswith("s3://bucket/photos/cat/01.jpg: access denied. ")
    assert "AWS_ACCESS_KEY_ID" in said
    assert object_store.requests["bucket/photos/cat/01.jpg"] == 1
    assert refusal(opened, "s3://bucket/photos").startswith("s3://bucket/photos: access denied.")
    address = f"{object_store.http}/bucket/list.txt"
    assert refusal(opened, address).startswith(f"{address}: access denied.")


def test_no_credentials_at_all_are_said_the_same(photos, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "access denied. Credentials are read where" in refusal(opened, "s3://bucket/photos")


def test_what_is_not_there_is_named(photos, object_store):
    assert refusal(opened, "s3://bucket/fotos") == "s3://bucket/fotos: not there"
    address = f"{object_store.http}/bucket/nowhere.tar"
    assert refusal(opened, address) == f"{address}: not there"
    assert refusal(opened, "s3://bucket/photos/*.bmp") == "s3://bucket/photos/*.bmp: no image files"


def test_a_server_that_fails_for_a_while_is_asked_again(photos, object_store):
    object_store.put("bucket/photos/list.txt", b"cat/01.jpg\n")
    source = opened(f"{object_store.http}/bucket/photos/list.txt")
    object_store.fails["bucket/photos/cat/01.jpg"] = 2
    assert source.read("cat/01.jpg") == photos["cat/01.jpg"]
    object_store.fails["bucket/photos/cat/01.jpg"] = 3
    said = refusal(source.read, "cat/01.jpg")
    assert said.startswith(
        f"{object_store.http}/bucket/photos/cat/01.jpg: cannot be reached, after 3 tries: "
    )


def test_a_server_that_goes_away_in_the_middle_ends_the_audit(photos, object_store):
    object_store.put("bucket/photos/list.txt", "\n".join(photos).encode())
    source = opened(f"{object_store.http}/bucket/photos/list.txt")
    assert source.read("cat/01.jpg")
    object_store.stop()
    said = refusal(audit, source)
    assert said.startswith(f"{object_store.http}/bucket/photos/cat/01.jpg: cannot be reached, ")


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("nothing://x/y", InputError, "nothing://x/y: ValueError: Protocol not known: nothing"),
        ("gs://bucket/x", MissingDependencyError, "edge-compressor[remote]"),
        ("s3://bucket/set/data.yaml", InputError, "is read from a disk only"),
        (f"s3://KEY:{SECRET}@bucket/x", InputError, "s3://bucket/x: holds a password"),
    ],
)
def test_an_address_that_cannot_be_used(address, error, said):
    with pytest.raises(error) as caught:
        opened(address)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_run_from_s3_leaves_no_credential_behind(
    photos, object_store, write_recipe, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    changes = {
        "data.images": "s3://bucket/photos",
        "data.ood": "s3://bucket/other",
        "data.min_images": 8,
    }
    run = Run(load(write_recipe(changes)), tmp_path / "run")
    with run.locked():
        runner.run_all(run, until="images")
    assert run.counts()["images"] == 20
    assert run.ood_ids() == ["@ood/1.jpg"]
    assert run.ood_paths()[0].read_bytes() == jpeg(99)
    done = CliRunner().invoke(commands, ["init", "s3://bucket/photos", "--recipe", "mine.yaml"])
    assert done.exit_code == 0, done.output
    assert "  images: s3://bucket/photos\n" in (tmp_path / "mine.yaml").read_text()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    for text in [*(path.read_bytes().decode("latin-1") for path in written), caplog.text]:
        assert SECRET not in text
        assert "AKIATEST" not in text
