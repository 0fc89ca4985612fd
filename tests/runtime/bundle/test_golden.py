"""What `Golden.save` wrote, `load` reads; anything else is an error with the file's name."""

import json
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import damaged
from runtime.array_groups import flat
from runtime.bundle import golden, golden_file
from runtime.bundle.golden import Golden
from runtime.bundle.golden_arrays import (
    Arrays,
    Corrupted,
    LinearProbe,
    Outside,
    TeacherProbe,
    UnderCorruption,
)
from runtime.errors import InputError
from runtime.metrics import OrthogonalMap

N, M, BANK, DT, D, K = 5, 3, 7, 6, 4, 2


def floats(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def under_corruption(answers):
    made = np.arange(2 * 6 * 5).reshape(2, 6, 5) % K if answers else None
    return UnderCorruption(floats(2, 6, 5), made)


@pytest.fixture(params=["everything", "little"])
def given_set(request, tmp_path):
    full = request.param == "everything"
    arrays = Arrays(
        labels=np.array([0, 1, -1, 1, 0]) if full else np.full(N, -1),
        teacher_embedding=floats(N, DT),
        teacher_nearest=floats(N),
        student_embedding=floats(N, D),
        bank=floats(BANK, D),
        bank_labels=np.arange(BANK) % K if full else np.full(BANK, -1),
    )
    if full:
        arrays = replace(
            arrays,
            teacher_knn=np.array([0, 1, 1, 1, 0]),
            teacher_logits=floats(N, K),
            teacher_probe=TeacherProbe(np.array([0, 1, 1, 1, 0]), floats(N, K)),
            student_logits=floats(N, K),
            linear_probe=LinearProbe(floats(K, D), floats(K)),
            orthogonal_map=OrthogonalMap(floats(D, DT), floats(D), floats(DT)),
            teacher_mahalanobis=floats(N),
            outside=Outside(floats(M), floats(M, D), floats(M, K), floats(M, K), floats(M)),
            corrupted=Corrupted(
                np.array([1, 3]), np.array([5, 9]), under_corruption(True), under_corruption(False)
            ),
            pixels=np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3),
        )
    return Golden(
        root=tmp_path / "golden",
        images=tuple(f"bilder/größe {n}.png" for n in range(N)),
        ood_images=("/elsewhere/a.png", "b.png", "c.png") if full else (),
        classes=("Löwenzahn", "rose") if full else (),
        arrays=arrays,
        corrupted_px=8 if full else 0,
    )


@pytest.fixture
def saved(tmp_path):
    """Folder with a small golden set."""
    arrays = Arrays(
        labels=np.array([0, 1]),
        teacher_embedding=floats(2, DT),
        teacher_nearest=floats(2),
        student_embedding=floats(2, D),
        bank=floats(BANK, D),
        bank_labels=np.full(BANK, -1),
    )
    folder = tmp_path / "golden"
    Golden(folder, ("a.png", "b.png"), (), (), arrays).save(folder, root=".")
    return folder


def test_round_trip(given_set):
    given_set.save(given_set.root, root=".")
    got = golden.load(given_set.root)
    assert got.root == given_set.root
    assert (got.images, got.ood_images) == (given_set.images, given_set.ood_images)
    assert got.classes == given_set.classes
    wanted, found = flat(given_set.arrays), flat(got.arrays)
    assert wanted.keys() == found.keys()
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values)


@pytest.mark.parametrize("given_set", ["everything"], indirect=True)
def test_some_rows_keep_what_belongs_to_them(given_set):
    rows = np.array([0, 3, 4])
    kept = given_set.only(rows, np.array([2])).arrays
    assert np.array_equal(kept.teacher_embedding, given_set.arrays.teacher_embedding[rows])
    assert np.array_equal(kept.teacher_probe.logits, given_set.arrays.teacher_probe.logits[rows])
    assert np.array_equal(kept.outside.student_logits, given_set.arrays.outside.student_logits[[2]])
    assert kept.corrupted.rows.tolist() == [1]  # image 3 is the second now
    assert kept.corrupted.seeds.tolist() == [9]
    assert np.array_equal(
        kept.corrupted.student.stability, given_set.arrays.corrupted.student.stability[[1]]
    )
    assert np.array_equal(kept.pixels, given_set.arrays.pixels[:1])
    assert np.array_equal(kept.bank, given_set.arrays.bank)


def test_the_root_is_relative_to_the_folder_or_absolute(given_set, tmp_path):
    given_set.save(tmp_path / "desk" / "holdout", root=str(tmp_path / "images"))
    assert golden.load(tmp_path / "desk" / "holdout").root == tmp_path / "images"
    given_set.save(tmp_path / "beside", root="../images")
    found = golden.load(tmp_path / "beside").root
    assert isinstance(found, Path)
    assert found.resolve() == (tmp_path / "images").resolve()


def test_saving_leaves_two_files_and_nothing_temporary(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["golden.json", "golden.safetensors"]


@pytest.mark.parametrize("name", ["golden.json", "golden.safetensors"])
def test_a_missing_file(saved, name):
    (saved / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        golden.load(saved)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"golden\.json: not a JSON file \(Expecting property name"),
        ("[]", r"golden\.json: does not describe a golden set"),
        ("{}", r"golden\.json: does not describe a golden set"),
        ('{"schema_version": "1"}', r"golden\.json: does not describe a golden set"),
        ('{"schema_version": 2, "root": "."}', r"golden\.json: classes: missing"),
        (
            '{"schema_version": 3}',
            r"golden\.json: version 3 of the golden set; .* reads up to 2\. Install a newer one",
        ),
    ],
)
def test_a_description_that_is_none(saved, text, said):
    (saved / "golden.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        golden.load(saved)


HEADER = json.dumps({"labels": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        pickle.dumps([1, 2]),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", len(HEADER)) + HEADER.encode() + bytes(8),  # larger than the file
        struct.pack("<Q", 2) + b"{}" + bytes(8),
    ],
)
def test_arrays_that_are_none(saved, content):
    (saved / "golden.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"golden\.safetensors: damaged \("):
        golden.load(saved)


@pytest.fixture(scope="module")
def to_damage(tmp_path_factory):
    """Folder with a golden set, and the bytes of its arrays."""
    folder = tmp_path_factory.mktemp("golden")
    arrays = Arrays(
        labels=np.zeros(20, np.int64),
        teacher_embedding=floats(20, 3),
        teacher_nearest=floats(20),
        student_embedding=floats(20, 3),
        bank=floats(20, 3),
        bank_labels=np.zeros(20, np.int64),
    )
    names = tuple(f"{n}.png" for n in range(20))
    Golden(folder, names, (), (), arrays).save(folder, root=".")
    return folder, (folder / "golden.safetensors").read_bytes()


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_damage_gives_arrays_or_a_message(to_damage, data):
    folder, whole = to_damage
    (folder / "golden.safetensors").write_bytes(damaged(whole, data))
    try:
        assert golden.load(folder).arrays.labels is not None
    except InputError as error:
        assert "golden.safetensors: " in str(error)


def test_an_array_that_is_missing(saved):
    path = saved / golden_file.NAME
    arrays = golden_file.read(path)
    del arrays["bank"], arrays["labels"]
    golden_file.write(path, arrays)
    with pytest.raises(InputError, match=r"golden\.safetensors: lacks labels, bank"):
        golden.load(saved)


def test_an_array_of_a_newer_version_is_ignored(saved):
    path = saved / golden_file.NAME
    golden_file.write(path, golden_file.read(path) | {"teacher_mood": floats(3)})
    assert golden.load(saved).arrays.labels.tolist() == [0, 1]


def test_an_object_array_cannot_be_saved(saved):
    before = (saved / golden_file.NAME).read_bytes()
    loaded = golden.load(saved)
    trapped = replace(loaded.arrays, labels=np.array([{}, {}], object))
    with pytest.raises(ValueError, match="labels holds object, not int64"):
        replace(loaded, arrays=trapped).save(saved, root=".")
    assert (saved / golden_file.NAME).read_bytes() == before


def test_the_description_is_plain_json(saved):
    document = json.loads((saved / "golden.json").read_text(encoding="utf-8"))
    assert document == {
        "schema_version": 2,
        "root": ".",
        "classes": [],
        "images": ["a.png", "b.png"],
        "ood_images": [],
        "bank_images": [],
        "corruptions": None,
    }
