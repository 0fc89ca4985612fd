"""Where images of several roots are found by their ids."""

from pathlib import Path

import pytest

from compressor.data.audit import AuditSettings
from compressor.data.audit import audit as audit_folder
from compressor.data.sources.opened import opened
from compressor.data.sources.source import Member, Roots
from image_folders import audit, ids, jpeg, write
from runtime.errors import InputError


def test_folders_alone_stay_a_path(tmp_path):
    roots = Roots(tmp_path / "photos", tmp_path / "held", tmp_path / "other")
    assert roots.root == tmp_path / "photos"
    path = tmp_path / "held" / "1.png"
    assert roots.id_of(path, roots.holdout) == "../held/1.png"


def test_held_out_images_of_another_source_have_ids_of_their_own(tmp_path, write_shard):
    write_shard("held.tar", {f"{n}.jpg": jpeg(n) for n in range(3)})
    write(tmp_path / "photos", *(f"{n}.png" for n in range(9)))
    held = opened(tmp_path / "shards" / "held.tar")
    found = audit(tmp_path / "photos", holdout=held)
    assert ids(found, "holdout") == [f"@holdout/held.tar/{n}.jpg" for n in range(3)]
    assert len(ids(found, "train", "validation")) == 9
    for image, path in zip(found.images.records, found.images.paths, strict=True):
        assert isinstance(path, Member) == (image.split == "holdout")
        assert path.read_bytes()


def test_a_folder_beside_shards_is_found_by_its_ids(tmp_path, webdataset):
    write(tmp_path / "held", *(f"cat/{n}.png" for n in range(3)))
    shards = opened(tmp_path / "shards" / "*.tar")
    roots = Roots(shards, tmp_path / "held", None)
    path, id_ = tmp_path / "held" / "cat" / "1.png", "@holdout/cat/1.png"
    assert roots.id_of(path, tmp_path / "held") == id_
    assert roots.root / id_ == path
    name = "train-000.tar/0001.jpg"
    assert (roots.root / name).read_bytes() == webdataset[name]


def test_the_name_of_a_member_has_the_parts_of_a_path(webdataset, tmp_path):
    source = opened(tmp_path / "shards" / "*.tar")
    for name in ("a.tar/cat/1.b.jpg", "a.tar/x", "a.tar/.jpg"):
        member, path = source / name, Path(name)
        assert (member.name, member.stem, member.suffix) == (path.name, path.stem, path.suffix)


def test_labels_of_the_source_where_there_are_none_are_refused(tmp_path):
    write(tmp_path / "photos", "1.png")
    settings = AuditSettings("source", 0.2, 0.2, seed=0)
    with pytest.raises(InputError, match="no labels come with these images"):
        audit_folder(tmp_path / "photos", settings)
