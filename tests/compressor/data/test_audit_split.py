"""The split that an audit makes of real folders."""

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from image_folders import audit, encoded, ids, picture, write


def by_class(found, split):
    return Counter(found.images.part(split).labels.tolist())


PICTURES = [encoded(picture(seed, 3, 2)) for seed in range(16)]


FOLDERS = st.sampled_from(["", "sub/", "sub/deeper/", "ö ä/"])


STEMS = st.text("abcxyz019éß猫- ", min_size=1, max_size=6)


def splits(found):
    return {photo.id: photo.split for photo in found.images.records}


def test_split__is_stratified_and_its_parts_cover_all_and_are_disjoint(flowers):
    found = audit(flowers, labels="folders", holdout=0.25, validation=0.2)
    # 0.25 of 20, 10, 6 is 5, 2.5, 1.5: nine in all; of equal remainders the first is rounded up.
    assert by_class(found, "holdout") == {0: 5, 1: 3, 2: 1}
    # 0.2 of the rest, 15, 7, 5, is 3, 1.4, 1.
    assert by_class(found, "validation") == {0: 3, 1: 1, 2: 1}
    assert by_class(found, "train") == {0: 12, 1: 6, 2: 4}
    parts = [ids(found, split) for split in ("train", "validation", "holdout")]
    assert sorted(itertools.chain(*parts)) == ids(found) == sorted(ids(found))


def test_split__follows_from_the_seed(flowers):
    assert audit(flowers, seed=1) == audit(flowers, seed=1)
    held = {tuple(ids(audit(flowers, seed=seed), "holdout")) for seed in range(4)}
    assert len(held) == 4


def test_split__another_share_of_validation_leaves_the_held_out_images_alone(flowers):
    held = [ids(audit(flowers, validation=share), "holdout") for share in (0.1, 0.5)]
    assert held[0] == held[1]


def test_split__a_larger_holdout_contains_the_smaller(flowers):
    small, large = (set(ids(audit(flowers, holdout=share), "holdout")) for share in (0.1, 0.5))
    assert small < large


def test_split__does_not_take_whole_runs_of_neighbouring_names(flowers):
    found = audit(flowers, holdout=0.5)
    is_held = [photo.split == "holdout" for photo in found.images.records]
    assert len(list(itertools.groupby(is_held))) > 6


def test_split__a_folder_for_holdout_still_leaves_a_validation_part(root, tmp_path):
    write(root, *(f"{number}.png" for number in range(10)))
    write(tmp_path / "held", "11.png", "12.png")
    found = audit(root, holdout=tmp_path / "held", validation=0.3)
    counts = found.counts()
    assert (counts["train"], counts["validation"], counts["holdout"]) == (7, 3, 2)


@settings(max_examples=25, deadline=None)
@given(
    folders=st.lists(FOLDERS, min_size=len(PICTURES), max_size=len(PICTURES)),
    stems=st.lists(STEMS, min_size=len(PICTURES), max_size=len(PICTURES), unique=True),
    classed=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_split__depends_on_pixels_only__not_on_names_or_order(
    tmp_path_factory, folders, stems, classed, order
):
    def split_of(names, sequence):
        root = tmp_path_factory.mktemp("renamed")
        for number in sequence:
            path = root / names[number]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PICTURES[number])
        labels = {"labels": "folders", "class_level": 1} if classed else {"labels": "none"}
        found = audit(root, **labels, seed=3)
        return {photo.pixels_sha256: (photo.label, photo.split) for photo in found.images.records}

    plain = [f"{number}.png" for number in range(len(PICTURES))]
    odd = [f"{folder}{stem}.png" for folder, stem in zip(folders, stems, strict=True)]
    if classed:  # a class keeps its images, whatever they are called within it
        plain = [f"{'ab'[number % 2]}/{name}" for number, name in enumerate(plain)]
        odd = [f"{'ab'[number % 2]}/{name}" for number, name in enumerate(odd)]
    shuffled = list(range(len(PICTURES)))
    order.shuffle(shuffled)
    assert split_of(odd, shuffled) == split_of(plain, range(len(PICTURES)))


def test_split__depends_on_pixels_only__not_on_the_format(root, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(12):
        picture(number).save(root / f"{number}.png")
        picture(number).save(other / f"{number}.bmp")
    splits = [
        {photo.pixels_sha256: photo.split for photo in audit(folder).images.records}
        for folder in (root, other)
    ]
    assert splits[0] == splits[1]


def test_split__labels_given_one_after_the_other_move_no_image(tmp_path):
    photos, labels = tmp_path / "photos", tmp_path / "labels.csv"
    names = [f"{number}.png" for number in range(20)]
    write(photos, *names)
    before = splits(audit(photos))
    for count in (1, 9, 19):
        rows = [f"{name},{'ab'[number % 3 == 0]}" for number, name in enumerate(names[:count])]
        labels.write_text("\n".join(["image,label", *rows]))
        assert splits(audit(photos, labels=str(labels), labelling=True)) == before
        if count > 1:  # the same when the recipe no longer says that labels are being given
            assert splits(audit(photos, labels=str(labels))) == before


def test_split__the_last_label_moves_no_image_while_labelling(tmp_path):
    photos, labels = tmp_path / "photos", tmp_path / "labels.csv"
    names = [f"{number}.png" for number in range(20)]
    write(photos, *names)
    labels.write_text("\n".join(["image,label", *(f"{n},{n[0]}" for n in names)]))
    assert splits(audit(photos, labels=str(labels), labelling=True)) == splits(audit(photos))
