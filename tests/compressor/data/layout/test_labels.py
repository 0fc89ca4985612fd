"""Classes from folders and from a CSV, and what is said about a CSV that does not fit."""

import csv
import os
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.layout.label_csv import read_csv
from compressor.data.layout.labels import UNLABELLED, index_classes
from compressor.data.layout.layout import Question
from compressor.data.layout.layout import read as read_layout
from runtime.errors import InputError


def read(labels, *names, held=(), unusable=()):
    """Classes and labels of files of these names, below the images and the holdout folder."""
    ids = [*names, *(f"../held/{name}" for name in held)]
    if labels == "folders":
        found = by_folders(names, held)
    else:
        found = {} if labels == "none" else read_csv(Path(labels), ids)
    return index_classes(str(labels), found, set(ids) - set(unusable))


def by_folders(names, held):
    with tempfile.TemporaryDirectory() as temporary:
        photos, other = Path(temporary, "photos"), Path(temporary, "held")
        for path in [*(photos / name for name in names), *(other / name for name in held)]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        layout = read_layout(Question(photos, other if held else None))
        return {
            Path(os.path.relpath(path, photos)).as_posix(): name
            for path, name in layout.class_of.items()
        }


@pytest.fixture
def write_csv(tmp_path):
    def write(content, **options):
        path = tmp_path / "labels.csv"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, **{"encoding": "utf-8", **options})
        return path

    return write


def message(labels, *names, **more):
    with pytest.raises(InputError) as caught:
        read(labels, *names, **more)
    return str(caught.value)


# --- none and folders ------------------------------------------------------------------------


def test_none__knows_no_classes():
    assert read("none", "a/1.png", "b/2.png") == ((), {})


def test_folders__the_uppermost_folder_is_the_class():
    classes, labels = read("folders", "rose/1.png", "aster/wild/2.png", "rose/old/3.png")
    assert classes == ("aster", "rose")
    assert labels == {"rose/1.png": 1, "aster/wild/2.png": 0, "rose/old/3.png": 1}


def test_folders__an_image_in_no_folder_has_no_label():
    _, labels = read("folders", "a/1.png", "b/2.png", "loose.png")
    assert set(labels) == {"a/1.png", "b/2.png"}


def test_folders__index_classes_the_holdout_folder_are_the_same_classes():
    classes, labels = read("folders", "a/1.png", "b/2.png", held=["b/3.png", "c/4.png", "5.png"])
    assert classes == ("a", "b", "c")
    assert labels["../held/b/3.png"] == labels["b/2.png"]
    assert "../held/5.png" not in labels


def test_folders__a_folder_without_a_usable_image_is_no_class():
    names = ["a/1.png", "b/2.png", "docs/readme.txt"]
    classes, labels = read("folders", *names, unusable=["docs/readme.txt"])
    assert classes == ("a", "b")
    assert set(labels) == {"a/1.png", "b/2.png"}


@pytest.mark.parametrize(
    ("names", "got"),
    [(["a/1.png", "a/2.png"], "has only one class (a)."), (["1.png"], "has no class.")],
)
def test_folders__under_two_classes_is_refused(names, got):
    text = message("folders", *names)
    assert f"data.labels is `folders`, but the images folder {got}" in text
    assert "Put each class into a folder of its own, or use a CSV, or `labels: none`." in text


def test_folders__one_class_and_a_folder_of_other_files_is_refused():
    text = message("folders", "a/1.png", "docs/readme.txt", unusable=["docs/readme.txt"])
    assert "has only one class (a)." in text


def test_folders__read_class_names_any_script_and_with_spaces():
    classes, _ = read("folders", "Gänseblümchen/1.png", "чай/2.png", "sun flower/3.png")
    assert classes == tuple(sorted(["Gänseblümchen", "чай", "sun flower"]))


# --- CSV: what is read -----------------------------------------------------------------------


def test_csv__classes_are_sorted_whatever_the_order_of_lines(write_csv):
    path = write_csv("image,label\n2.png,rose\nsub/1.png,aster\n3.png,rose\n")
    classes, labels = read(path, "sub/1.png", "2.png", "3.png")
    assert classes == ("aster", "rose")
    assert labels == {"2.png": 1, "sub/1.png": 0, "3.png": 1}


@pytest.mark.parametrize(
    "content",
    [
        "image,label\n1.png,a\n2.png,b\n",
        "label,image\na,1.png\nb,2.png\n",
        "label,by,image\na,me,1.png\nb,,2.png\n",
        "image,label\r\n1.png,a\r\n2.png,b",
        "image,label\n\n1.png,a\n\n\n2.png,b\n\n",
        "image,label\n 1.png , a \n2.png,\tb\n",
        'image,label\n"1.png","a"\n"2.png","b"\n',
        "image,label\n./1.png,a\nsub/../2.png,b\n",
        "image,label\n1.png,a\n1.png,a\n2.png,b\n1.png,\n",
    ],
    ids=[
        "plain", "columns swapped", "a column more", "Windows ends", "empty lines", "spaces",
        "quotes", "paths not normal", "lines repeated",
    ],
)  # fmt: skip
def test_csv__ways_to_write_the_same(write_csv, content):
    assert read(write_csv(content), "1.png", "2.png") == (("a", "b"), {"1.png": 0, "2.png": 1})


def test_csv__with_a_byte_order_mark_as_excel_writes_it(write_csv):
    path = write_csv("image,label\n1.png,a\n2.png,ß\n", encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert read(path, "1.png", "2.png")[0] == ("a", "ß")


def test_csv__an_empty_label_and_a_missing_line_are_no_label(write_csv):
    path = write_csv("image,label\n1.png,a\n2.png,b\n3.png,\n4.png\n")
    _, labels = read(path, "1.png", "2.png", "3.png", "4.png", "5.png")
    assert set(labels) == {"1.png", "2.png"}
    assert UNLABELLED not in labels.values()


def test_csv__names_with_commas_quotes_and_any_script(write_csv):
    path = write_csv('image,label\n"a, b.png",one\n"say ""hi"".png",two\nfotoğraf/猫.png,two\n')
    _, labels = read(path, "a, b.png", 'say "hi".png', "fotoğraf/猫.png")
    assert labels == {"a, b.png": 0, 'say "hi".png': 1, "fotoğraf/猫.png": 1}


def test_csv__names_images_of_a_holdout_folder_elsewhere(write_csv):
    path = write_csv("image,label\n1.png,a\n2.png,b\n../held/3.png,a\n")
    assert read(path, "1.png", "2.png", held=["3.png"])[1]["../held/3.png"] == 0


def test_csv__may_name_an_unusable_image_but_that_makes_no_class(write_csv):
    path = write_csv("image,label\n1.png,a\n2.png,b\nbroken.png,c\n")
    classes, labels = read(path, "1.png", "2.png", "broken.png", unusable=["broken.png"])
    assert classes == ("a", "b")
    assert set(labels) == {"1.png", "2.png"}


ODD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).map(str.strip)


@given(st.dictionaries(ODD.filter(bool), st.sampled_from("ab"), min_size=2))
def test_csv__what_a_csv_writer_wrote_is_read_back(tmp_path_factory, by_name):
    labelled = {f"{name}.png": label for name, label in by_name.items() if "/" not in name}
    labelled |= {"first.png": "a", "second.png": "b"}
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "label"), *labelled.items()])
    classes, labels = read(path, *labelled)
    assert {name: classes[label] for name, label in labels.items()} == labelled


# --- CSV: what is refused --------------------------------------------------------------------


def test_csv__an_unknown_image_is_named_with_line_and_suggestion(write_csv):
    path = write_csv("image,label\nrose/1.png,a\nrose/l2.png,b\n")
    text = message(path, "rose/1.png", "rose/12.png")
    assert text == (
        f"{path}:3: no such image below data.images: 'rose/l2.png'; did you mean rose/12.png?"
    )


def test_csv__an_unknown_image_unlike_any_other_gets_no_suggestion(write_csv):
    path = write_csv("image,label\n\nzzz.gif,a\n,b\n")
    first, second = message(path, "rose/1.png").splitlines()
    assert first == f"{path}:3: no such image below data.images: 'zzz.gif'"
    assert second.strip() == f"{path}:4: no such image below data.images: ''"


def test_csv__absolute_paths_are_unknown_but_lead_to_a_suggestion(write_csv):
    path = write_csv("image,label\n/rose/1.png,a\n")
    assert "'/rose/1.png'; did you mean rose/1.png?" in message(path, "rose/1.png")


def test_csv__two_labels_for_one_image_are_refused(write_csv):
    path = write_csv("image,label\n1.png,a\n2.png,b\n./1.png,b\n")
    assert message(path, "1.png", "2.png") == f"{path}:4: ./1.png is 'b' here and 'a' above"


def test_csv__ten_mistakes_are_listed_and_the_others_counted(write_csv):
    path = write_csv("image,label\n" + "".join(f"none{n}.gif,a\n" for n in range(13)))
    lines = message(path, "1.png").splitlines()
    assert len(lines) == 11
    assert lines[9].startswith(f"  {path}:11: no such image")
    assert lines[10] == "  and 3 more"
    ten = write_csv("image,label\n" + "".join(f"none{n}.gif,a\n" for n in range(10)))
    assert "more" not in message(ten, "1.png")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("1.png,a\n2.png,b\n", "'1.png,a'"),
        ("image|label\n1.png|a\n", "'image|label'"),
        ("image,colour\n1.png,a\n", "'image,colour'"),
        ("", "''"),
        (",,\n\n", "',,'"),
    ],
)
def test_csv__a_wrong_header_is_refused(write_csv, content, got):
    path = write_csv(content)
    text = message(path, "1.png", "2.png")
    assert text == (
        f"{path}:1: the columns image,label are needed (or names such as filename,class); got {got}"
    )


def test_csv__another_encoding_than_unicode_is_refused(write_csv):
    path = write_csv("image,label\nkäfer.png,a\n".encode("latin-1"))
    assert message(path, "käfer.png") == f"{path}: not UTF-8 text; save it as `CSV UTF-8`"


def test_folders__in_both_forms_of_unicode_are_one_class():
    apart = unicodedata.normalize("NFD", "Käfer")
    assert read("folders", "Käfer/1.png", f"{apart}/2.png", "b/3.png")[0] == ("Käfer", "b")


def test_csv__a_quote_never_closed_is_refused_with_its_line(write_csv):
    lines = "".join(f"{number}.png,a\n" for number in range(20_000))
    text = message(write_csv(f'image,label\n1.png,"a\n{lines}'), "1.png")
    assert ": not CSV: field larger than field limit" in text


def test_csv__missing_file_is_an_error_of_the_user(tmp_path):
    path = tmp_path / "nowhere.csv"
    assert message(path, "1.png") == f"{path}: No such file or directory"


@pytest.mark.parametrize(
    ("rows", "got"), [("1.png,a\n2.png,a\n", "only one class (a)"), ("", "no class")]
)
def test_csv__under_two_classes_is_refused(write_csv, rows, got):
    path = write_csv(f"image,label\n{rows}")
    text = message(path, "1.png", "2.png")
    assert text.startswith(f"{path} has {got}.")
    assert "At least two classes are needed; or use `labels: none`." in text


def test_fewer_than_two_classes_are_fine_while_labels_are_being_given():
    assert index_classes("labels.csv", {}, {"1.png"}, fewest=0) == ((), {})
    assert index_classes("labels.csv", {"1.png": "a"}, {"1.png"}, fewest=0) == (
        ("a",),
        {"1.png": 0},
    )
