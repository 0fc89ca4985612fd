"""A training image among the held-out ones is caught, however it came there."""

from dataclasses import replace

import numpy as np
import pytest

from runtime.bundle import bundle, golden
from runtime.errors import InputError
from runtime.evaluation.check import check
from runtime.findings.contamination import drop_contaminated
from runtime.results.scores import to_json


@pytest.fixture(scope="module")
def clean(make_bundle):
    folder = make_bundle(corrupted=5)
    return folder, golden.load(folder / "golden")


def planted(folder, seal, *rows):
    """The golden set with held-out images that the teacher finds in the training set."""
    loaded = golden.load(folder / "golden")
    near = loaded.arrays.teacher_nearest.copy()
    near[list(rows)] = 1
    changed = {**vars(loaded.arrays), "teacher_nearest": near}
    replace(loaded, arrays=golden.Arrays(**changed)).save(folder / "golden", root=".")
    seal(folder)
    return folder


def test_nothing_is_dropped_from_a_clean_set(clean):
    _, loaded = clean
    assert drop_contaminated(loaded) == (loaded, ())


def test_a_planted_training_image_is_in_no_score(make_bundle, seal, clean):
    folder = planted(make_bundle(corrupted=5), seal, 2, 9)
    found = to_json(check(bundle.load(folder), golden.load(folder / "golden")))
    names = ["images/02.png", "images/09.png"]
    assert found["golden"]["set_apart_as_seen_in_training"] == names
    assert found["golden"]["images"] == 14
    assert found["robustness"]["images"] == 4
    assert not [each for each in found["departures"]["most"] if each["image"] in names]
    # The same as a set that never had them.
    whole, loaded = clean
    without = loaded.only(np.delete(np.arange(16), [2, 9]))
    expected = to_json(check(bundle.load(whole), without))
    for entry, other in zip(found["ledger"], expected["ledger"], strict=True):
        timed = {"latency", "latency_other_batches"}
        assert {k: v for k, v in entry.items() if k not in timed} == {
            k: v for k, v in other.items() if k not in timed
        }
    assert found["robustness"] == expected["robustness"]
    assert found["preprocess_max_difference_levels"] == 0


def test_a_set_that_was_fitted_on_is_refused(make_bundle, seal):
    folder = planted(make_bundle(), seal, *range(16))
    with pytest.raises(InputError) as raised:
        check(bundle.load(folder), golden.load(folder / "golden"))
    said = str(raised.value)
    assert "16 of 16 held-out images are training images too (images/00.png, images/01.png" in said
    assert "Hold out other images (data.holdout)" in said


def test_a_copy_saved_again_is_seen_and_a_similar_image_is_not(clean):
    """Distances as they are on real photographs: copies under a twentieth of the usual."""
    _, loaded = clean
    for distance, expected in ((0.011, True), (0.036, False)):
        near = np.full(16, 1 - 0.24, np.float32)
        near[3] = 1 - distance
        arrays = replace(loaded.arrays, teacher_nearest=near)
        _, names = drop_contaminated(replace(loaded, arrays=arrays))
        assert names == (("images/03.png",) if expected else ())


def test_a_teacher_that_tells_no_images_apart_accuses_none(clean):
    """Untrained or collapsed: every image is as near to every other."""
    _, loaded = clean
    alike = (
        np.ones((16, 5), np.float32) + 1e-5 * np.arange(80, dtype=np.float32).reshape(16, 5) / 80
    )
    arrays = replace(
        loaded.arrays, teacher_embedding=alike, teacher_nearest=np.ones(16, np.float32)
    )
    assert drop_contaminated(replace(loaded, arrays=arrays))[1] == ()
