"""A golden set that version 1 wrote, `golden.npz`, is read; a damaged one is refused."""

import io
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import damaged
from runtime.bundle import golden, golden_file
from runtime.errors import InputError

OLD = Path(__file__).parents[2] / "fixtures" / "bundle_v1" / "golden"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(OLD, tmp_path / "golden")


def arrays_of(folder):
    with np.load(folder / "golden.npz") as file:
        return dict(file)


def test_everything_of_it_is_read():
    loaded, old = golden.load(OLD), arrays_of(OLD)
    arrays = loaded.arrays
    assert (len(loaded.images), loaded.classes) == (12, ("blue", "red"))
    assert loaded.ood_source == "corruptions"
    pairs = {
        "labels": arrays.labels,
        "teacher_ood_inside": arrays.teacher_nearest,
        "teacher_ood_outside": arrays.outside.teacher_nearest,
        "student_ood_embedding": arrays.outside.student_embedding,
        "teacher_mahalanobis_outside": arrays.outside.teacher_mahalanobis,
        "map_turn": arrays.orthogonal_map.turn,
        "corrupted_rows": arrays.corrupted.rows,
        "teacher_corrupted_answers": arrays.corrupted.teacher.answers,
        "student_corrupted_stability": arrays.corrupted.student.stability,
        "pixels": arrays.pixels,
    }
    for name, values in pairs.items():
        assert np.array_equal(old[name], values), name


def test_saved_again_it_is_of_today(tmp_path):
    loaded = golden.load(OLD)
    loaded.save(tmp_path, root=str(OLD))
    again = golden.load(tmp_path)
    assert (tmp_path / "golden.safetensors").is_file()
    assert again.digest == loaded.digest
    assert np.array_equal(again.arrays.corrupted.seeds, loaded.arrays.corrupted.seeds)


@pytest.mark.parametrize("name", ["teacher_probe", "linear_weight"])
def test_a_probe_other_than_the_linear_one(folder, name):
    """Older sets hold the answers of the teacher's probe and no logits."""
    more = {"teacher_probe": np.zeros(12, np.int64)}
    if name == "linear_weight":
        more = {"linear_weight": np.ones((2, 16), np.float32), "linear_bias": np.ones(2)}
    np.savez(folder / "golden.npz", **arrays_of(folder), **more)
    arrays = golden.load(folder).arrays
    if name == "teacher_probe":
        assert arrays.teacher_probe.answers.tolist() == [0] * 12
        assert arrays.reference_logits is None
    else:
        assert arrays.linear_probe.weight.shape == (2, 16)


def as_npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"not an archive", as_npy(np.ones(3)), pickle.dumps([1, 2])]
)
def test_arrays_that_are_none(folder, content):
    (folder / "golden.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"golden\.npz: damaged \("):
        golden.load(folder)


@pytest.fixture(scope="module")
def to_damage(tmp_path_factory):
    folder = shutil.copytree(OLD, tmp_path_factory.mktemp("damaged") / "golden")
    return folder, (folder / "golden.npz").read_bytes()


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_damage_gives_arrays_or_a_message(to_damage, data):
    folder, whole = to_damage
    (folder / "golden.npz").write_bytes(damaged(whole, data))
    try:
        assert golden.load(folder).arrays.labels is not None
    except InputError as error:
        assert "golden.npz: " in str(error)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("bank", np.zeros((20, 3), "U3"), "bank holds <U3, not float32"),
        ("bank", np.zeros((36, 4), np.float32), r"bank is \[36, 4\], not \[B, D\] = \[36, 16\]"),
        ("labels", np.zeros(3, np.int64), r"labels is \[3\], not \[N\] = \[12\]"),
    ],
)
def test_arrays_that_do_not_go_together(folder, name, values, message):
    np.savez(folder / "golden.npz", **{**arrays_of(folder), name: values})
    with pytest.raises(InputError, match=rf"golden\.npz: .*{message}"):
        golden.load(folder)


def test_an_array_that_claims_more_than_it_holds(folder, monkeypatch):
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(folder / "golden.npz", "a") as archive:
        archive.writestr("linear_weight.npy", header.getvalue() + bytes(100))
    with pytest.raises(InputError, match="more than it holds"):
        golden.load(folder)
    monkeypatch.setattr(golden_file, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="the limit is"):
        golden.load(folder)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).mkdir, (self.path,))


def test_a_pickle_is_refused_and_not_run(folder, tmp_path):
    trap = np.array([Trap(tmp_path / "sprung")], object)
    np.savez(folder / "golden.npz", labels=trap)
    with pytest.raises(InputError, match=r"golden\.npz: damaged \(labels\.npy holds objects"):
        golden.load(folder)
    assert not (tmp_path / "sprung").exists()
