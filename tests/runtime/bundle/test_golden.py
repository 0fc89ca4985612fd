"""What `Golden.save` wrote, `load` reads; anything else is an error with the file's name."""

import io
import json
import pickle
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import golden
from runtime.bundle.golden import Arrays, Golden
from runtime.errors import InputError

N, M, BANK, DT, D, K = 5, 3, 7, 6, 4, 2


def floats(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture(params=["labels and ood", "neither"])
def given_set(request, tmp_path):
    full = request.param == "labels and ood"
    arrays = Arrays(
        labels=np.array([0, 1, -1, 1, 0]) if full else np.full(N, -1),
        teacher_embedding=floats(N, DT),
        teacher_knn=np.array([0, 1, 1, 1, 0]) if full else None,
        teacher_logits=floats(N, K) if full else None,
        teacher_ood_inside=floats(N),
        teacher_ood_outside=floats(M) if full else None,
        student_embedding=floats(N, D),
        student_logits=floats(N, K) if full else None,
        student_ood_embedding=floats(M, D) if full else None,
        bank=floats(BANK, D),
        bank_labels=np.arange(BANK) % K if full else np.full(BANK, -1),
        pixels=np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3) if full else None,
    )
    return Golden(
        root=tmp_path / "golden",
        images=tuple(f"bilder/größe {n}.png" for n in range(N)),
        ood_images=("/elsewhere/a.png", "b.png", "c.png") if full else (),
        classes=("Löwenzahn", "rose") if full else (),
        arrays=arrays,
    )


@pytest.fixture
def saved(tmp_path):
    """Folder with a small golden set."""
    arrays = Arrays(
        labels=np.array([0, 1]),
        teacher_embedding=floats(2, DT),
        teacher_knn=None,
        teacher_logits=None,
        teacher_ood_inside=floats(2),
        teacher_ood_outside=None,
        student_embedding=floats(2, D),
        student_logits=None,
        student_ood_embedding=None,
        bank=floats(BANK, D),
        bank_labels=np.zeros(BANK, np.int64),
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
    for field in fields(Arrays):
        wanted, value = (getattr(each.arrays, field.name) for each in (given_set, got))
        if wanted is None:
            assert value is None
        else:
            assert value.dtype == wanted.dtype
            assert np.array_equal(value, wanted)


def test_the_root_is_relative_to_the_folder_or_absolute(given_set, tmp_path):
    given_set.save(tmp_path / "desk" / "holdout", root=str(tmp_path / "images"))
    assert golden.load(tmp_path / "desk" / "holdout").root == tmp_path / "images"
    given_set.save(tmp_path / "beside", root="../images")
    assert golden.load(tmp_path / "beside").root.resolve() == (tmp_path / "images").resolve()


def test_saving_leaves_two_files_and_nothing_temporary(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["golden.json", "golden.npz"]


@pytest.mark.parametrize("name", ["golden.json", "golden.npz"])
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
        ('{"schema_version": 1, "root": "."}', r"golden\.json: classes: missing"),
        (
            '{"schema_version": 2}',
            r"golden\.json: version 2 of the golden set; .* reads up to 1\. Install a newer one",
        ),
    ],
)
def test_a_description_that_is_none(saved, text, said):
    (saved / "golden.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        golden.load(saved)


def as_npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"not an archive", as_npy(np.ones(3)), pickle.dumps([1, 2])]
)
def test_arrays_that_are_none(saved, content):
    (saved / "golden.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"golden\.npz: damaged \("):
        golden.load(saved)


@pytest.fixture(scope="module")
def to_damage(tmp_path_factory):
    """Folder with a golden set, and the bytes of its arrays."""
    folder = tmp_path_factory.mktemp("golden")
    needed = "labels teacher_embedding teacher_ood_inside student_embedding bank bank_labels"
    arrays = dict.fromkeys(field.name for field in fields(Arrays))
    arrays |= {name: floats(20, 3) for name in needed.split()}
    Golden(folder, (), (), (), Arrays(**arrays)).save(folder, root=".")
    return folder, (folder / "golden.npz").read_bytes()


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_damage_gives_arrays_or_a_message(to_damage, data):
    folder, whole = to_damage
    at = data.draw(st.integers(0, len(whole) - 1), label="at")
    bit = data.draw(st.none() | st.integers(0, 7), label="bit to flip, or cut off there")
    damaged = whole[:at] if bit is None else bytearray(whole)
    if bit is not None:
        damaged[at] ^= 1 << bit
    (folder / "golden.npz").write_bytes(damaged)
    try:
        assert golden.load(folder).arrays.labels is not None
    except InputError as error:
        assert "golden.npz: " in str(error)


def test_an_array_that_is_missing(saved):
    with np.load(saved / "golden.npz") as file:
        kept = {name: file[name] for name in file.files if name not in ("bank", "labels")}
    np.savez(saved / "golden.npz", **kept)
    with pytest.raises(InputError, match=r"golden\.npz: lacks bank, labels"):
        golden.load(saved)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).mkdir, (self.path,))


def test_a_pickle_is_refused_and_not_run(saved, tmp_path):
    trap = np.array([Trap(tmp_path / "sprung")], object)
    np.savez(saved / "golden.npz", labels=trap)
    with pytest.raises(InputError, match=r"golden\.npz: damaged \(labels\.npy holds objects"):
        golden.load(saved)
    assert not (tmp_path / "sprung").exists()


def test_an_object_array_cannot_be_saved(saved):
    before = (saved / "golden.npz").read_bytes()
    loaded = golden.load(saved)
    trapped = Arrays(**{**vars(loaded.arrays), "labels": np.array([{}, {}], object)})
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        Golden(saved, loaded.images, (), (), trapped).save(saved, root=".")
    assert (saved / "golden.npz").read_bytes() == before


def test_the_description_is_plain_json(saved):
    document = json.loads((saved / "golden.json").read_text(encoding="utf-8"))
    assert document == {
        "schema_version": 1,
        "root": ".",
        "classes": [],
        "images": ["a.png", "b.png"],
        "ood_images": [],
        "bank_images": [],
        "corruptions": None,
    }
