"""Parquet files as `datasets` writes them, and as others do."""

import json

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compressor.data.image_files import open_rgb
from compressor.data.sources import parquet
from compressor.data.sources.opened import opened
from compressor.data.sources.stores import store
from image_folders import audit, ids, jpeg
from refused_source import refusal
from runtime.errors import InputError


@pytest.fixture
def write_parquet(tmp_path):
    """Write rows as `datasets` does: images as bytes and path, classes as numbers with names."""

    def write(name, count=6, first=0, names=("cat", "dog"), rows=None, **columns):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images = [{"bytes": jpeg(first + n), "path": f"{n}.jpg"} for n in range(count)]
        features = {
            "image": {"_type": "Image"},
            "label": {"names": list(names), "_type": "ClassLabel"},
        }
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table(
            {
                "image": pa.array(images, kind),
                "label": pa.array([n % 2 for n in range(count)], pa.int64()),
                **{key: pa.array(value) for key, value in columns.items()},
            }
        )
        noted = json.dumps({"info": {"features": features}})
        pq.write_table(
            table.replace_schema_metadata({"huggingface": noted}), path, row_group_size=2
        )
        return path

    return write


def test_rows_are_images_with_the_names_of_their_classes(write_parquet):
    source = opened(write_parquet("all.parquet"))
    assert list(source.names) == [f"all.parquet/{n:07d}.jpg" for n in range(6)]
    assert [source.read(name) for name in source.names] == [jpeg(n) for n in range(6)]
    assert source.labels()["all.parquet/0000001.jpg"] == "dog"
    found = audit(source, labels="source")
    assert found.images.classes == ("cat", "dog")
    assert ids(found) == list(source.names)


def test_files_named_after_a_split_are_one(write_parquet, tmp_path):
    for number in range(2):
        write_parquet(f"train-{number:05d}-of-00002.parquet", first=10 * number)
    write_parquet("test-00000-of-00001.parquet", 2, first=90)
    source = opened(tmp_path / "data" / "*.parquet")
    held = {f"test-00000-of-00001.parquet/{n:07d}.jpg" for n in range(2)}
    assert source.held_out() == held
    found = audit(source, labels="source")
    assert set(ids(found, "holdout")) == held
    train = opened(tmp_path / "data" / "train-*.parquet")
    assert not train.held_out()
    assert len(audit(train, labels="source").images) == 12


@pytest.mark.parametrize("kept_bytes", [0, 1_000, 1_000_000])
def test_any_order_of_rows_of_several_files_is_read(
    write_parquet, tmp_path, monkeypatch, kept_bytes
):
    monkeypatch.setattr(parquet, "_KEPT_BYTES", kept_bytes)
    for number in range(5):
        write_parquet(f"{number}.parquet", first=10 * number)
    source = opened(tmp_path / "data" / "*.parquet")
    for row in (5, 0, 3, 2, 4, 1, 0):
        for number in (3, 0, 4, 1, 2):
            name = f"{number}.parquet/{row:07d}.jpg"
            assert source.read(name) == jpeg(10 * number + row)


@pytest.mark.parametrize(("kept_bytes", "least", "most"), [(0, 1, 5), (4e6, 3, 8), (1e9, 15, 18)])
def test_memory_is_limited_over_all_files(tmp_path, monkeypatch, kept_bytes, least, most):
    """Five files of three row groups of a million bytes each."""
    monkeypatch.setattr(parquet, "_KEPT_BYTES", kept_bytes)
    for number in range(5):
        table = pa.table({"image": [bytes([number, row]) * 500_000 for row in range(3)]})
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=1, use_dictionary=False)
    del table
    before = pa.total_allocated_bytes()
    source = opened(tmp_path / "*.parquet")
    assert [len(source.read(name)) for name in source.names] == [1_000_000] * 15
    assert least <= (pa.total_allocated_bytes() - before) / 1e6 <= most


def test_categories_of_pandas_are_classes(tmp_path):
    path = tmp_path / "some.parquet"
    labels = pa.array(["cat", "dog", None, "cat"]).dictionary_encode()
    pq.write_table(pa.table({"image": [jpeg(n) for n in range(4)], "label": labels}), path)
    source = opened(path)
    assert [source.labels().get(name) for name in source.names] == ["cat", "dog", None, "cat"]


def test_what_this_pyarrow_cannot_read_is_named(write_parquet, monkeypatch):
    path = write_parquet("all.parquet")

    def refuse(table, number, columns):
        raise pa.lib.ArrowNotImplementedError("Support for codec 'lzo' not built")

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", refuse)
    source = opened(path)
    with pytest.raises(InputError, match=r"all\.parquet: cannot be read as Parquet: .*lzo"):
        source.read(source.names[0])


def test_bytes_alone_and_classes_by_name_will_do(tmp_path):
    path = tmp_path / "plain.parquet"
    table = {"id": [1, 2, 3], "Img": [jpeg(n) for n in range(3)], "class_name": ["a", "b", None]}
    pq.write_table(pa.table(table), path)
    source = opened(path)
    assert list(source.names) == [f"plain.parquet/{n:07d}.jpeg" for n in range(3)]
    assert source.labels() == {
        "plain.parquet/0000000.jpeg": "a",
        "plain.parquet/0000001.jpeg": "b",
    }
    assert open_rgb(source / "plain.parquet/0000002.jpeg").size == (12, 9)


def test_another_column_of_classes_is_said(write_parquet):
    source = opened(write_parquet("all.parquet", category=list("uvwxyz")))
    assert source.notes == ["classes are those of the column label; there are also: category"]


def test_rows_without_an_image_or_a_class(tmp_path):
    path = tmp_path / "some.parquet"
    images = [{"bytes": jpeg(0), "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None]
    images += [{"bytes": jpeg(n), "path": "c.jpg"} for n in range(3, 6)]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 1, -1, 0, 1]}), path)
    source = opened(path)
    found = audit(source, labels="source")
    assert [each.id for each in found.rejected] == [
        "some.parquet/0000001.jpg",
        "some.parquet/0000002.jpeg",
    ]
    assert found.rejected[0].reason == "empty file (0 bytes)"
    assert "some.parquet/0000003.jpg" not in source.labels()


def test_a_class_out_of_range_is_named(write_parquet):
    path = write_parquet("all.parquet", names=("cat",))
    assert refusal(path) == f"{path}: class 1 in the column label, which has 1 names (0 to 0)"


def test_what_cannot_be_read_is_named(write_parquet, tmp_path, monkeypatch):
    path = write_parquet("all.parquet")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refusal(path).startswith(f"{path}: cannot be read as Parquet: ")
    path.write_bytes(b"")
    assert refusal(path).startswith(f"{path}: cannot be read as Parquet: ")
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), path)
    assert "no column of images (bytes, or bytes and path) among text, n" in refusal(path)
    monkeypatch.setattr(parquet, "LARGEST_GROUP_BYTES", 100)
    assert "a row group of 0 MB, all of which is read" in refusal(write_parquet("all.parquet"))


def test_damage_in_the_middle_of_a_file_ends_the_audit_with_its_name(write_parquet):
    path = write_parquet("all.parquet")
    source, content = opened(path), bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"all\.parquet: cannot be read as Parquet"):
        audit(source)


def test_parquet_in_a_store_is_read_in_place(write_parquet, object_store):
    path = write_parquet("train.parquet")
    object_store.put("bucket/data/train.parquet", path.read_bytes())
    source = opened("s3://bucket/data/*.parquet")
    assert [source.read(name) for name in source.names] == [jpeg(n) for n in range(6)]
    assert source.labels() == opened(path).labels()


def test_a_data_set_of_the_hub_is_named(write_parquet, local_hub, monkeypatch):
    template = f"{local_hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", local_hub.url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(store, "WAITS_S", (0.01,))
    path = write_parquet("train.parquet")
    local_hub.put("datasets/me/cats", path.read_bytes(), "data/train.parquet")
    local_hub.put("datasets/me/cats", b"# Cats", "README.md")
    source = opened("hf://datasets/me/cats")
    assert [source.read(name) for name in source.names] == [jpeg(n) for n in range(6)]
    assert source.labels() == opened(path).labels()
    with pytest.raises(InputError, match="hf://datasets/me/dogs"):
        opened("hf://datasets/me/dogs")
