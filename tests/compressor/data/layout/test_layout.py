"""What folders say: which are a split, which level names the classes, what is left open."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.layout.layout import Question, read
from compressor.data.layout.split_folders import Doubt, Split, find_split, part_of
from runtime.errors import InputError


@pytest.fixture
def look(tmp_path):
    """Make files below `photos` (and `held`) and read their layout."""

    def look(*names, held=(), **asked):
        root, other = tmp_path / "photos", tmp_path / "held"
        for path in [*(root / name for name in names), *(other / name for name in held)]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return read(Question(root, other if held else None, **asked))

    return look


def files(*folders, count=2):
    return [f"{folder}/{number}.jpg" for folder in folders for number in range(count)]


def classes(layout):
    return {
        name: (each.train, each.holdout) for name, each in layout.classes(layout.class_of).items()
    }


TRAIN = [
    "train",
    "Train",
    "TRAIN",
    "training",
    "Training",
    "train2017",
    "train_images",
    "train set",
]
HELD = [
    "val",
    "Val",
    "VALID",
    "validation",
    "test",
    "Testing",
    "val2017",
    "test-images",
    "held-out",
]


@pytest.mark.parametrize(("train", "held"), list(itertools.product(TRAIN, HELD)))
def test_folders_of_a_split_are_no_classes(look, train, held):
    found = look(*files(f"{train}/cat", f"{train}/dog", f"{held}/cat", f"{held}/dog"))
    assert classes(found) == {"cat": (2, 2), "dog": (2, 2)}
    assert found.is_split
    assert found.notes[0] == (
        f"the folders are a split: {train}/ to train on (4 files), {held}/ held out (4 files); "
        "data.holdout is not used"
    )


LAYOUTS = {
    "three parts": (["train/cat", "train/dog", "val/cat", "val/dog", "test/cat", "test/dog"],
                    {"cat": (2, 4), "dog": (2, 4)}),
    "in one folder, as archives are": (["data/train/cat", "data/train/dog", "data/test/cat"],
                                       {"cat": (2, 2), "dog": (2, 0)}),
    "twice, as archives of Kaggle": (["train_set/train_set/cats", "train_set/train_set/dogs",
                                      "test_set/test_set/cats"], {"cats": (2, 2), "dogs": (2, 0)}),
    "with a word of its own": (["seg_train/sea", "seg_train/street", "seg_test/sea"],
                               {"sea": (2, 2), "street": (2, 0)}),
    "within each class": (["cat/train", "cat/val", "dog/train", "dog/val"],
                          {"cat": (2, 2), "dog": (2, 2)}),
    "held-out images without classes": (["train/cat", "train/dog", "test"],
                                        {"cat": (2, 0), "dog": (2, 0)}),
    "held-out images in another folder more": (["train/cat", "train/dog", "test/images/cat",
                                                "test/images/dog"], {"cat": (2, 2), "dog": (2, 2)}),
    "one class held out": (["train/cat", "train/dog", "val/cat"], {"cat": (2, 2), "dog": (2, 0)}),
    "a class only held out": (["train/cat", "train/dog", "val/owl"],
                              {"cat": (2, 0), "dog": (2, 0), "owl": (0, 2)}),
    "a folder around all classes": (["animals/cat", "animals/dog"], {"cat": (2, 0), "dog": (2, 0)}),
    "a folder around and one below": (["animal/dog/img", "animal/cat/img"],
                                      {"cat": (2, 0), "dog": (2, 0)}),
    "one folder below each class": (["cat/img", "dog/img"], {"cat": (2, 0), "dog": (2, 0)}),
    "folders within some classes": (["cat", "cat/old", "dog"], {"cat": (4, 0), "dog": (2, 0)}),
    "a class that is called train": (["train", "car", "bus"],
                                     {"bus": (2, 0), "car": (2, 0), "train": (2, 0)}),
    "valid and invalid": (["valid", "invalid"], {"invalid": (2, 0), "valid": (2, 0)}),
    "numbers": ([str(number) for number in range(3)], {"0": (2, 0), "1": (2, 0), "2": (2, 0)}),
}  # fmt: skip


@pytest.mark.parametrize(("folders", "expected"), list(LAYOUTS.values()), ids=LAYOUTS)
def test_layouts_of_the_wild(look, folders, expected):
    assert classes(look(*files(*folders))) == expected


def test_labels_and_notes_beside_images_make_no_level(look):
    names = files("train/images/cat", "train/images/dog", "val/images/cat")
    texts = [name.replace("images", "labels").replace("jpg", "txt") for name in names]
    assert classes(look(*names, *texts, "readme.md")) == {"cat": (2, 2), "dog": (2, 0)}


def test_images_beside_the_folders_of_a_split_are_said(look):
    found = look(*files("train/cat", "train/dog", "val/cat"), "plot.png")
    assert "1 files lie outside of these folders: used to train on" in found.notes


DOUBTS = {
    "something beside": (["train/cat", "val/cat", "extra/cat"],
                         "train/ and val/ look like a split, but extra/ stand beside them"),
    "masks beside": (["train/good", "test/good", "ground_truth/hole"],
                     "ground_truth/ stand beside"),
    "in each class": (["a/train", "a/test", "a/masks", "b/train", "b/test", "b/masks"],
                      "test/ and train/ look like a split, but masks/ stand beside them"),
    "held out alone": (["cat", "dog", "test"], "test/ look like held-out images, but no folder"),
    "two held out": (["val/cat", "test/cat"], "test/ and val/ look like held-out images"),
    "class and split in one name": (["dog_train", "dog_test", "cat_train", "cat_test"],
                                    "look like classes and a split in one name"),
}  # fmt: skip


@pytest.mark.parametrize(("folders", "message"), list(DOUBTS.values()), ids=DOUBTS)
def test_what_only_looks_like_a_split_is_asked(look, folders, message):
    with pytest.raises(InputError, match=r"data\.split_folders: ignore") as caught:
        look(*files(*folders))
    assert message in str(caught.value)
    ignored = look(*files(*folders), split_folders=False, propose=True)
    assert not ignored.is_split
    proposed = look(*files(*folders), propose=True)
    assert any(message in note for note in proposed.notes)
    without_labels = look(*files(*folders), by_folder=False)
    assert any(message in note for note in without_labels.notes)


def test_a_split_counts_without_labels_too(look):
    found = look(*files("train", "val"), by_folder=False)
    assert len(found.held_out) == 2
    assert not found.class_of


def test_a_split_that_is_ignored(look):
    found = look(*files("train", "val"), split_folders=False)
    assert classes(found) == {"train": (2, 0), "val": (2, 0)}
    assert not found.is_split


NESTED = {
    "kinds": ["animal/cat", "animal/dog", "thing/car", "thing/cup"],
    "breeds": ["train/dog/pug", "train/dog/poodle", "train/cat/manx", "train/cat/siamese",
               "val/dog/pug"],
    "days of each class": ["cat/2021", "cat/2022", "dog/2021", "dog/2022"],
    "classes of each day": ["2021/cat", "2021/dog", "2022/cat", "2022/dog"],
}  # fmt: skip
PROPOSED = {"kinds": 2, "breeds": 2, "days of each class": 1, "classes of each day": 2}


@pytest.mark.parametrize("kind", NESTED)
def test_nested_classes_are_not_guessed(look, kind):
    with pytest.raises(InputError) as caught:
        look(*files(*NESTED[kind]))
    text = str(caught.value)
    assert "data.class_level: 1 gives 2 classes: " in text
    assert "data.class_level: 2 gives " in text
    assert f"(most likely class_level: {PROPOSED[kind]})" in text
    proposed = look(*files(*NESTED[kind]), propose=True)
    assert proposed.level == PROPOSED[kind]
    assert any(f"{PROPOSED[kind]} is taken" in note for note in proposed.notes)


def test_the_level_that_is_told_is_taken(look):
    names = files(*NESTED["breeds"])
    assert classes(look(*names, class_level=1)) == {"cat": (4, 0), "dog": (4, 2)}
    assert classes(look(*names, class_level=2)) == {
        "manx": (2, 0), "poodle": (2, 0), "pug": (2, 2), "siamese": (2, 0)
    }  # fmt: skip
    with pytest.raises(InputError, match="class_level is 3, but images lie at most 2 folders deep"):
        look(*names, class_level=3)


@pytest.mark.parametrize("around", ["", "x/y/", "data/"])
def test_a_holdout_folder_with_fewer_or_more_folders_around_the_classes(look, around):
    found = look(*files("data/cat", "data/dog"), held=files(f"{around}cat", f"{around}dog"))
    assert classes(found) == {"cat": (2, 2), "dog": (2, 2)}


def test_a_holdout_folder_of_one_class_keeps_it(look):
    assert classes(look(*files("cat", "dog"), held=files("cat"))) == {"cat": (2, 2), "dog": (2, 0)}


WORDS = st.sampled_from(["cat", "dog", "owl", "img", "2024", "a b", "é"])


@given(st.lists(st.lists(WORDS, max_size=3).map(tuple), min_size=1, max_size=12))
def test_names_that_name_no_part_are_never_a_split(images):
    assert find_split(images) is None


@given(
    st.lists(st.tuples(st.sampled_from(TRAIN[:5]), WORDS), min_size=1, max_size=6),
    st.lists(st.tuples(st.sampled_from(HELD[:6]), WORDS), min_size=1, max_size=6),
    st.lists(WORDS, max_size=2).map(tuple),
)
def test_a_split_is_found_below_any_folders_and_by_every_name(train, held, above):
    found = find_split([above + folders for folders in (*train, *held)])
    assert isinstance(found, Split)
    assert found.level == len(above)
    parts = dict(found.names)
    assert {parts[name] for name, _ in train} == {"train"}
    assert {parts[name] for name, _ in held} == {"holdout"}


@given(st.text(max_size=12))
def test_every_name_can_be_read(name):
    part = part_of(name)
    assert part is None or part.part in ("train", "holdout")
    assert isinstance(find_split([(name,), ("x",)]), Doubt | None)


def test_counts_and_doubts_are_said(look):
    found = look(*files("train/Cat", "train/cat", "train/dog", "val/cat", "val/owl"), "train/x.jpg")
    first, *more = found.described("folders", found.class_of)
    assert first == (
        "11 image files, by folders 4 classes (to train on + held out): "
        "Cat 2 + 0, cat 2 + 2, dog 2 + 0, owl 0 + 2; 1 without a class"
    )
    assert more[:3] == [
        "classes that differ only in case or spaces: Cat, cat",
        "classes without an image to train on: owl",
        "classes without a held-out image: Cat, dog",
    ]
