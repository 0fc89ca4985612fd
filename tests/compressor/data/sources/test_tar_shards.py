"""Tar shards are read in place: names, classes, and clear words for what is damaged."""

import gzip
import pickle
import tarfile

import pytest

from compressor.data.image_files import open_rgb
from compressor.data.sources import source as protocol
from compressor.data.sources.opened import opened
from image_folders import audit, ids, jpeg
from runtime.errors import InputError


@pytest.fixture
def shards(tmp_path):
    def shards(pattern="train-{000..001}.tar"):
        return opened(tmp_path / "shards" / pattern)

    return shards


def test_every_image_has_a_stable_name_and_its_own_content(webdataset, shards):
    source = shards()
    assert list(source.names) == sorted(webdataset)
    assert {name: source.read(name) for name in source.names} == webdataset


def test_its_images_travel_to_another_process(webdataset, shards):
    source = shards()
    files = pickle.loads(pickle.dumps([source / name for name in source.names]))
    assert [file.read_bytes() for file in files] == [webdataset[name] for name in source.names]


def test_the_class_is_that_of_cls_then_of_json(webdataset, shards):
    source = shards()
    assert source.has_labels
    assert source.labels() == {
        "train-000.tar/0000.jpg": "dog",
        "train-000.tar/0001.jpg": "cat",
        "train-000.tar/0002.jpg": "dog",
        "train-000.tar/0003.jpg": "cat",
        "train-001.tar/0004.jpg": "cat",
        "train-001.tar/0005.jpg": "dog",
    }


def test_cls_wins_over_json_and_a_number_is_a_class(write_shard, shards):
    write_shard("a.tar", {"1.jpg": jpeg(1), "1.cls": b"7", "1.json": b'{"label": "x"}'})
    assert shards("a.tar").labels() == {"a.tar/1.jpg": "7"}


def test_all_members_of_one_sample_have_its_class(write_shard, shards):
    members = {"cat/1.left.jpg": jpeg(1), "cat/1.right.jpg": jpeg(2), "cat/1.cls": b"tabby"}
    write_shard("a.tar", members)
    assert set(shards("a.tar").labels().values()) == {"tabby"}


def test_folders_in_members_names_are_classes_but_shards_are_none(write_shard, tmp_path):
    for shard in range(2):
        members = {f"{name}/{n}.jpg": jpeg(10 * shard + n) for n, name in enumerate("abab")}
        write_shard(f"part/{shard}/train.tar", members)
    source = opened(tmp_path / "shards" / "part" / "*" / "train.tar")
    assert source.folders("0/train.tar/a/0.jpg") == ("a",)
    found = audit(source, labels="folders")
    assert found.images.classes == ("a", "b")


def test_the_audit_counts_classes_and_a_broken_member_as_a_broken_image(write_shard, shards):
    members = {f"{n}.jpg": jpeg(n) for n in range(8)}
    members |= {f"{n}.cls": b"odd" if n % 2 else b"even" for n in range(8)}
    members["3.jpg"] = members["3.jpg"][:200]
    write_shard("a.tar", members)
    found = audit(shards("a.tar"), labels="source")
    assert [each.id for each in found.rejected] == ["a.tar/3.jpg"]
    assert "damaged" in found.rejected[0].reason
    assert ids(found) == [f"a.tar/{n}.jpg" for n in range(8) if n != 3]
    assert found.images.classes == ("even", "odd")
    image = found.images.paths[0]
    assert open_rgb(image).size == (12, 9)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read_in_every_format(write_shard, shards, kind):
    folder = "/".join(["folder"] * 15)
    names = [f"{folder}/1.jpg"]
    if kind != tarfile.USTAR_FORMAT:
        names += ["Äpfel/zwölf.jpg", f"{'x' * 150}/{'y' * 150}.jpg"]
    write_shard("a.tar", {name: jpeg(n) for n, name in enumerate(names)}, kind)
    source = shards("a.tar")
    assert list(source.names) == sorted(f"a.tar/{name}" for name in names)
    assert source.read(f"a.tar/{names[-1]}") == jpeg(len(names) - 1)


def test_names_lead_nowhere_else(write_shard, shards):
    names = ("./1.jpg", "../../2.jpg", "/etc/3.jpg", "a/../../4.jpg", "._5.jpg", ".6.jpg")
    write_shard("a.tar", {name: jpeg(n) for n, name in enumerate(names)})
    assert list(shards("a.tar").names) == [
        "a.tar/1.jpg",
        "a.tar/2.jpg",
        "a.tar/a/4.jpg",
        "a.tar/etc/3.jpg",
    ]


def test_links_and_json_without_a_class_are_left_out_and_said(write_shard, shards, tmp_path):
    path = write_shard("a.tar", {"1.jpg": jpeg(1), "1.json": b'{"caption": "x"}', "1.cls": b" "})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("2.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "1.jpg"
        archive.addfile(link)
    source = shards("a.tar")
    assert not source.has_labels
    assert source.notes == [
        "left out in the shards: 1 x a .json without a class",
        "left out in the shards: 1 x a link",
        "left out in the shards: 1 x an empty .cls",
    ]


def refusal(shards, pattern="train-000.tar"):
    with pytest.raises(InputError) as caught:
        shards(pattern)
    return str(caught.value)


@pytest.mark.parametrize("cut", [100, 600, 1000, 1600, 3000])
def test_a_shard_cut_short_is_named(webdataset, shards, tmp_path, cut):
    path = tmp_path / "shards" / "train-000.tar"
    path.write_bytes(path.read_bytes()[:cut])
    said = refusal(shards, "train-{000..001}.tar")
    assert said.startswith(f"{path}: ")
    assert "cut short" in said or ("not a tar archive" in said and cut < 512)


def test_a_shard_without_its_end_is_cut_short(webdataset, shards, tmp_path):
    path = tmp_path / "shards" / "train-000.tar"
    path.write_bytes(path.read_bytes().rstrip(b"\0").ljust(8192, b"\0")[:8192])
    with tarfile.open(path) as archive:
        end = max(entry.offset_data + -(-entry.size // 512) * 512 for entry in archive)
    path.write_bytes(path.read_bytes()[:end])
    assert "without a tar's end mark. Was it downloaded in full?" in refusal(shards)


def test_a_damaged_header_is_named_with_its_place(webdataset, shards, tmp_path):
    path = tmp_path / "shards" / "train-000.tar"
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1]
    content[second.offset + 130] ^= 1
    path.write_bytes(content)
    assert refusal(shards) == (
        f"{path}: damaged at byte {second.offset:,}, after 0000.jpg: no header of a member is there"
    )


def test_what_is_no_tar_is_said(tmp_path, shards):
    (tmp_path / "shards").mkdir()
    path = tmp_path / "shards" / "train-000.tar"
    path.write_bytes(b"<html>" * 200)
    assert refusal(shards) == f"{path}: not a tar archive"
    path.write_bytes(gzip.compress(bytes(range(256)) * 40, 0))
    assert "compressed, and members of a compressed tar cannot be read in place" in refusal(shards)
    path.write_bytes(b"")
    assert "cut short" in refusal(shards)


def test_a_missing_shard_of_a_range_is_named(webdataset, tmp_path, shards):
    said = refusal(shards, "train-{000..002}.tar")
    assert said == f"no such file: {tmp_path / 'shards' / 'train-002.tar'}"


def test_shards_without_images_are_refused(write_shard, shards):
    write_shard("a.tar", {"1.txt": b"a caption"})
    assert "no image in 1 shards" in refusal(shards, "a.tar")


def test_a_shard_that_shrinks_while_it_is_read_is_an_error(webdataset, shards, tmp_path):
    source, path = shards(), tmp_path / "shards" / "train-001.tar"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="was changed while it was read"):
        open_rgb(source / "train-001.tar/0007.jpg")


def test_a_member_that_would_fill_the_memory_is_a_broken_image(webdataset, shards, monkeypatch):
    largest = max(map(len, webdataset.values()))
    monkeypatch.setattr(protocol, "MOST_BYTES", largest - 1)
    found = audit(shards())
    assert {each.id for each in found.rejected} == {
        name for name, content in webdataset.items() if len(content) == largest
    }
    assert "absurdly large" in found.rejected[0].reason


def test_the_fingerprint_changes_with_a_shard(webdataset, shards, write_shard):
    before = shards().fingerprint()
    assert shards().fingerprint() == before
    write_shard("train-001.tar", {"new.jpg": b"1"})
    assert shards().fingerprint() != before
