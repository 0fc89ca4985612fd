"""A CSV as people, spreadsheets and other programs write it."""

import csv
import unicodedata

import pytest

from compressor.data.layout import returned
from compressor.data.layout.label_csv import lost_labels, read_csv, read_known_labels
from compressor.data.layout.labels import index_classes
from runtime.errors import InputError


def read(path, *names):
    """Classes and labels of images of these names."""
    return index_classes(str(path), read_csv(path, names), set(names))


def message(path, *names):
    with pytest.raises(InputError) as caught:
        read(path, *names)
    return str(caught.value)


@pytest.fixture
def write_csv(tmp_path):
    def write(content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


HEADERS = [
    "filename,class", "Image,Label", "image,class", "image_path,label", "path,category",
    "file_name,labels", "File Name,Class Name", "filepath,target", "img,tag", "file,label",
    "image_id,class", " image , label ", '"image","label"', "IMAGE;LABEL", "filename\tlabel",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_csv__headers_that_people_write(write_csv, header):
    mark = next(mark for mark in ",;\t" if mark in header)
    path = write_csv(f"{header}\n1.png{mark}a\n2.png{mark}b\n")
    assert read(path, "1.png", "2.png")[1] == {"1.png": 0, "2.png": 1}


def test_csv__our_own_names_of_columns_come_first(write_csv):
    path = write_csv("path,image,class,label\nx,1.png,7,a\ny,2.png,8,b\n")
    assert read(path, "1.png", "2.png") == (("a", "b"), {"1.png": 0, "2.png": 1})


def test_csv__two_columns_that_could_be_it_are_not_guessed(write_csv):
    path = write_csv("filename,class,category\n1.png,7,a\n")
    assert message(path, "1.png") == (
        f"{path}:1: which column is `label`: class, category? Rename the one"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("before", ["", "sep=;\n", "\n", ";;\n"])
def test_csv__what_a_spreadsheet_writes_first(write_csv, encoding, before):
    content = f"{before}image;label\nkäfer.png;a\n2.png;b\n"
    path = write_csv(content.encode(encoding))
    assert read(path, "käfer.png", "2.png")[1] == {"käfer.png": 0, "2.png": 1}


@pytest.mark.parametrize("blank", [",", ",,,", " , ", '"",""', "\t,", ""])
def test_csv__rows_that_a_spreadsheet_cleared_say_nothing(write_csv, blank):
    path = write_csv(f"image,label\n{blank}\n1.png,a\n{blank}\n2.png,b\n{blank}\n{blank}\n")
    assert read(path, "1.png", "2.png") == (("a", "b"), {"1.png": 0, "2.png": 1})


NAMES = ["Blüte é.png", "über/1.png", "Ångström/Å.jpg", "각.png", "ﬁ/ớ.png"]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_csv", ["NFC", "NFD"])
def test_csv__a_name_in_another_form_of_unicode_is_the_same_name(write_csv, on_disk, in_csv):
    files = [unicodedata.normalize(on_disk, name) for name in NAMES]
    rows = "".join(
        f"{unicodedata.normalize(in_csv, name)},{'ab'[n % 2]}\n" for n, name in enumerate(NAMES)
    )
    _, labels = read(write_csv(f"image,label\n{rows}"), *files)
    assert labels == {name: number % 2 for number, name in enumerate(files)}


def test_csv__two_files_in_both_forms_are_two_images(write_csv):
    composed, apart = "é.png", unicodedata.normalize("NFD", "é.png")
    path = write_csv(f"image,label\n{composed},a\n{apart},b\n")
    assert read(path, composed, apart)[1] == {composed: 0, apart: 1}


def test_csv__classes_in_both_forms_are_one_class(write_csv):
    apart = unicodedata.normalize("NFD", "Käfer")
    path = write_csv(f"image,label\n1.png,Käfer\n2.png,{apart}\n3.png,b\n")
    assert read(path, "1.png", "2.png", "3.png")[0] == ("Käfer", "b")


def test_csv__paths_as_windows_writes_them(write_csv):
    path = write_csv("image,label\nrose\\1.png,a\n.\\tulip\\wild\\2.png,b\n")
    assert read(path, "rose/1.png", "tulip/wild/2.png")[1] == {
        "rose/1.png": 0,
        "tulip/wild/2.png": 1,
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv__separators_of_spreadsheets_and_other_columns_are_read(write_csv, separator):
    rows = [
        ["rank", "label", "image", "cluster"],
        ["1", "a", "1, one.png", "1"],
        ["2", "b", "2.png", "2"],
    ]
    quoted = [f'"{cell}"' if separator in cell else cell for row in rows for cell in row]
    lines = [separator.join(quoted[start : start + 4]) for start in range(0, 12, 4)]
    path = write_csv("\n".join(lines))
    assert read(path, "1, one.png", "2.png")[1] == {"1, one.png": 0, "2.png": 1}


def test_csv__the_paths_that_label_studio_exports_are_those_below_the_images(write_csv):
    path = write_csv(
        "image,label\n/data/local-files/?d=photos/old%20ones/1.png,a\n"
        "/data/local-files/?d=photos/2.png,b\n/data/local-files/?d=photos/3.png,b\n"
    )
    assert message(path, "old ones/1.png", "2.png") == (
        f"{path}:4: no such image below data.images: '/data/local-files/?d=photos/3.png'"
    )
    assert read(path, "old ones/1.png", "2.png", "3.png")[1]["old ones/1.png"] == 0


@pytest.mark.parametrize("name", ["two\nlines.png", " blank.png", "a\u2028b.png", '"quoted".png'])
def test_csv__odd_names_are_found(tmp_path, name):
    path = tmp_path / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "label"), (name, "a"), ("2.png", "b")])
    assert read(path, name, "2.png")[1] == {name: 0, "2.png": 1}


def test_csv__two_labels_of_one_image_are_refused_where_others_are_passed_over(write_csv):
    path = write_csv("image,label\n1.png,a\nelsewhere.png,b\n1.png,a\n")
    assert read_known_labels(path, ["1.png", "2.png"]) == {"1.png": "a"}
    path = write_csv("image,label\n1.png,a\nelsewhere.png,b\n./1.png,c\n")
    with pytest.raises(InputError, match=r"labels\.csv:4: \./1\.png is 'c' here and 'a' above"):
        read_known_labels(path, ["1.png"])


def test_csv__an_image_that_came_back_has_one_label_whatever_it_is_called(write_csv, tmp_path):
    paths = {"@returned/001/1.png": tmp_path / "001" / "1.png"}
    write_csv("image,label\n001/1.png,a\n@returned/001/1.png,a\nelsewhere.png,c\n")
    assert returned.labels_in(tmp_path, paths) == {tmp_path / "001" / "1.png": "a"}
    write_csv("image,label\n001/1.png,a\n@returned/001/1.png,b\n")
    with pytest.raises(InputError, match="'b' and 'a'; which of them"):
        returned.labels_in(tmp_path, paths)


def test_csv__a_label_that_others_lack_or_contradict_is_lost(write_csv):
    path = write_csv("image,label\n1.png,a\n2.png,b\n3.png,\ngone.png,c\n")
    assert lost_labels(path, {"1.png": "a", "2.png": "a"}) == ["2.png", "gone.png"]
    assert lost_labels(path, {"1.png": "a", "2.png": "b", "gone.png": "c", "4.png": "d"}) == []
