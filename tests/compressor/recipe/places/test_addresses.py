"""What `data.images` may name: kinds, patterns, and addresses with secrets in them."""

import pytest

from compressor.recipe import plan as plans
from compressor.recipe.places import addresses
from runtime.errors import InputError


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("photos", "folder"),
        ("list.txt", "list"),
        ("shards/train-{000..010}.tar", "shards"),
        ("shards/a.tar.gz", "shards"),
        ("annotations.json", "coco"),
        ("data.yaml", "yolo"),
        ("data/*.parquet", "parquet"),
        ("clips/*.MP4", "video"),
        ("s3://bucket/prefix", "store"),
        ("s3://bucket/shards/{0..9}.tar", "shards"),
        ("zip://photos::/data/photos.zip", "store"),
        ("https://example.com/list.txt?version=2", "list"),
    ],
)
def test_the_kind_is_read_from_the_name(address, kind):
    assert addresses.kind_of(address) == kind


def test_a_folder_is_a_folder_whatever_its_name(tmp_path):
    (tmp_path / "odd.tar").mkdir()
    assert addresses.kind_of(str(tmp_path / "odd.tar")) == "folder"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{a,b}-{0..2}.tar", [f"{x}-{n}.tar" for x in "ab" for n in range(3)]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{000..002}", ["000", "001", "002"]),
        ("x{y}", ["x{y}"]),
        ("{3..1}", []),
    ],
)
def test_braces_stand_for_names_as_in_a_shell(pattern, names):
    assert addresses.braces(pattern) == names


@pytest.mark.parametrize("pattern", ["{0..99999999}", "{0..9999}{0..9999}"])
def test_too_many_names_are_refused(pattern):
    with pytest.raises(InputError, match="stands for"):
        addresses.braces(pattern)


def test_patterns_are_files_in_order_each_once(tmp_path):
    for name in ("b.tar", "a.tar", "[1].tar"):
        (tmp_path / name).touch()
    found = addresses.expanded(f"{tmp_path}/{{b,a}}.tar")
    assert [path.name for path in found] == ["a.tar", "b.tar"]
    assert addresses.expanded(f"{tmp_path}/*.tar") == sorted(tmp_path.iterdir())
    assert addresses.expanded(f"{tmp_path}/[1].tar") == [tmp_path / "[1].tar"]
    with pytest.raises(InputError, match="no file matches"):
        addresses.expanded(f"{tmp_path}/x*.tar")


@pytest.mark.parametrize(
    "address",
    [
        "s3://KEY:SECRET@bucket/photos",
        "https://me:SECRET@example.com/photos/",
        "https://example.com/a.tar?X-Amz-Signature=SECRET",
        "https://example.com/a.tar?x=1&token=SECRET",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(address):
    said = addresses.mistake_in(address)
    assert said is not None
    assert "password" in said
    assert "SECRET" not in said + addresses.shown(address)


def test_a_change_of_a_recipe_with_a_secret_is_not_repeated(tmp_path):
    path = tmp_path / "recipe.yaml"
    networks = "teacher: {model: a, weights: hub}\nstudent: {model: b}\ntarget: cpu\n"
    path.write_text("name: a\ndata: {images: photos}\n" + networks)
    change = "data.images=s3://KEY:SECRET@bucket/a.tar?token=SECRET"
    for changes in ([change], ["data.imagse=" + change.partition("=")[2]]):
        with pytest.raises(InputError) as caught:
            plans.load(path, changes)
        assert "--set data.imag" in str(caught.value)
        assert "SECRET" not in str(caught.value)


def test_an_address_without_one_is_not():
    assert addresses.mistake_in("https://example.com/a.tar?version=2") is None
    assert addresses.shown("s3://bucket/a") == "s3://bucket/a"
