"""Arrays of a golden set that nothing can be measured by: each is named when it is read."""

import json
import shutil

import numpy as np
import pytest

from runtime.bundle import golden, golden_file
from runtime.errors import InputError


@pytest.fixture(scope="module")
def sound(make_bundle):
    return make_bundle(corrupted=2) / "golden"


@pytest.fixture
def changed(sound, tmp_path):
    """`changed(name, values)`: the set with another array; `changed(**keys)`: other names."""

    def change(array=None, values=None, **keys):
        folder = shutil.copytree(sound, tmp_path / "golden", dirs_exist_ok=True)
        path = folder / golden_file.NAME
        if array is not None:
            golden_file.write(path, {**golden_file.read(path), array: values})
        document = json.loads((folder / golden.DOCUMENT).read_text())
        (folder / golden.DOCUMENT).write_text(json.dumps({**document, **keys}))
        return folder

    return change


def arrays(sound):
    return golden_file.read(sound / golden_file.NAME)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_every_number_is_finite(sound, changed, bad):
    for name, values in arrays(sound).items():
        if values.dtype.kind != "f":
            continue
        other = values.copy()
        other.flat[-1] = bad
        with pytest.raises(
            InputError, match=rf"{name} holds values that are not finite, or beyond"
        ):
            golden.load(changed(name, other))


def test_every_number_of_a_class_or_an_image_is_one(sound, changed):
    for name, values in arrays(sound).items():
        if values.dtype.kind != "i":
            continue
        for bad in (-2, np.iinfo(values.dtype).min):
            other = values.copy()
            other.flat[0] = bad
            with pytest.raises(InputError, match=rf"{name} (holds numbers below|names an image)"):
                golden.load(changed(name, other))


@pytest.mark.parametrize("name", ["bank", "teacher_embedding", "student_embedding",
                                  "outside.student_embedding"])  # fmt: skip
def test_every_embedding_has_a_direction(sound, changed, name):
    other = arrays(sound)[name].copy()
    other[1] = 0
    with pytest.raises(InputError, match=f"{name} holds rows of zeros"):
        golden.load(changed(name, other))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"classes": []}, "bank_labels names classes, and there is none"),
        ({"ood_images": []}, r"outside.teacher_nearest is \[6\], not \[M\] = \[2\]"),
        ({"ood_images": [], "corrupted": None}, "outside"),
        ({"bank_images": ["x"]}, "bank has 20 rows, not 1"),
        ({"images": ["a"]}, r"labels is \[16\], not \[N\] = \[1\]"),
    ],
)
def test_names_and_arrays_go_together(changed, keys, said):
    with pytest.raises(InputError, match=said):
        golden.load(changed(**keys))


def test_a_vote_without_a_labelled_image_is_refused(sound, changed):
    none = np.full_like(arrays(sound)["bank_labels"], -1)
    with pytest.raises(InputError, match="teacher_knn answers classes, and no bank_labels name"):
        golden.load(changed("bank_labels", none))
