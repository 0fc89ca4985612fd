"""What a run remembers of its proposals, and the sheet it makes of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.selection import state
from compressor.selection.choose import Request, choose
from compressor.selection.handoff import files, write
from compressor.selection.handoff.label_sheet import label_sheet
from compressor.selection.label_plan import LabelPlan
from runtime.errors import InputError


def pool_of(labels, classes=("a", "b")):
    photos = [
        ImageRecord(f"{n:02d}.jpg", str(n), 8, 8, label, "train") for n, label in enumerate(labels)
    ]
    return ImageSet(Path("/photos"), classes, tuple(photos))


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).standard_normal((11, 4)).astype(np.float32)


def chosen(now, embeddings, budget):
    return choose(embeddings, Request("k-center", budget, settled=now.settled))


def test_proposals_grow_in_their_order_and_what_has_a_label_is_no_longer_open(tmp_path, embeddings):
    now = state.read(pool_of([-1] * 11), tmp_path)
    assert (len(now.proposed), len(now.settled)) == (0, 0)
    plan = chosen(now, embeddings, 3)
    state.save(now, plan, tmp_path)
    first = state.read(now.pool, tmp_path)
    assert first.proposed.tolist() == first.open.tolist() == plan.chosen.tolist()

    elsewhere = next(row for row in range(11) if row not in plan.chosen)
    labels = [-1] * 11
    labels[plan.chosen[1]], labels[elsewhere] = 1, 0
    now = state.read(pool_of(labels), tmp_path)
    assert now.elsewhere.tolist() == [elsewhere]
    assert set(now.settled) == {*plan.chosen, elsewhere}
    more = chosen(now, embeddings, 2)
    assert not set(more.chosen) & set(now.settled)
    state.save(now, more, tmp_path)
    after = state.read(now.pool, tmp_path)
    assert after.proposed.tolist() == [*plan.chosen, *more.chosen]
    assert after.open.tolist() == [plan.chosen[0], plan.chosen[2], *more.chosen]

    loaded = state.load(after, tmp_path)
    assert loaded.chosen.tolist() == after.open.tolist()
    assert loaded.settled.tolist() == sorted([plan.chosen[1], elsewhere])
    assert np.array_equal(loaded.centre, more.centre)
    assert loaded.map is None


def test_an_image_that_has_gone_is_no_longer_proposed(tmp_path, embeddings):
    now = state.read(pool_of([-1] * 11), tmp_path)
    plan = chosen(now, embeddings, 3)
    state.save(now, plan, tmp_path)
    gone = int(plan.chosen[1])
    left = ImageSet(now.pool.root, (), now.pool.records[:gone] + now.pool.records[gone + 1 :])
    names = [left.records[row].id for row in state.read(left, tmp_path).proposed]
    assert names == [f"{row:02d}.jpg" for row in (plan.chosen[0], plan.chosen[2])]


def test_proposals_of_a_newer_version_are_refused(tmp_path):
    (tmp_path / "selection.json").write_text(json.dumps({"schema_version": 99, "proposed": []}))
    with pytest.raises(InputError, match="version 99"):
        state.read(pool_of([-1]), tmp_path)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"strategy": "random", "seed": 0}, "proposed: missing"),
        ({"strategy": "", "seed": 0, "proposed": []}, "strategy: expected str of length >= 1"),
        (
            {"strategy": "random", "seed": 0, "proposed": [{"image": 3}]},
            r"proposed\[0\]\.image: expected str, got int 3",
        ),
    ],
)
def test_a_damaged_selection_names_the_key(tmp_path, document, message):
    text = json.dumps({"schema_version": 1, **document})
    (tmp_path / "selection.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"selection\.json: {message}"):
        state.read(pool_of([-1]), tmp_path)


def laid_out(now, plan, embeddings, typed=()):
    return label_sheet(now, plan, now.pool, embeddings, dict(typed))


def test_the_sheet_counts_every_image_once_and_names_the_nearest_before(tmp_path, embeddings):
    labels = [-1] * 11
    labels[4] = 0
    now = state.read(pool_of(labels), tmp_path)
    plan = chosen(now, embeddings, 5)
    state.save(now, plan, tmp_path)
    now = state.read(now.pool, tmp_path)
    asked = laid_out(now, plan, embeddings, {"00.jpg": "b"})
    stands_for_4 = int((plan.centre == 4).sum())
    assert sum(row.stands_for for row in asked.rows) + stands_for_4 == 11
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    earlier = [4]
    for row, at in zip(asked.rows, now.proposed, strict=True):
        cosines = unit[earlier] @ unit[at]
        assert row.similarity == pytest.approx(float(cosines.max()), abs=1e-5)
        assert row.nearest_chosen == f"{earlier[int(cosines.argmax())]:02d}.jpg"
        earlier.append(at)
    assert asked.others["04.jpg"] == "a"
    assert [row.rank for row in asked.rows] == [1, 2, 3, 4, 5]
    assert asked.open == asked.rows


def test_a_label_typed_is_shown_but_what_data_labels_says_holds(tmp_path, embeddings):
    now = state.read(pool_of([-1] * 11), tmp_path)
    plan = chosen(now, embeddings, 2)
    state.save(now, plan, tmp_path)
    one, two = (f"{row:02d}.jpg" for row in plan.chosen)
    labels = [-1] * 11
    labels[plan.chosen[0]] = 0
    now = state.read(pool_of(labels), tmp_path)
    first, second = laid_out(now, plan, embeddings, {one: "typed", two: "typed"}).rows
    assert (first.label, first.open) == ("a", False)
    assert (second.label, second.open) == ("typed", True)


def test_the_list_is_left_alone_where_it_says_so_already(tmp_path, embeddings):
    now = state.read(pool_of([-1] * 11), tmp_path)
    plan = chosen(now, embeddings, 2)
    state.save(now, plan, tmp_path)
    asked = laid_out(state.read(now.pool, tmp_path), plan, embeddings)
    path = tmp_path / files.CSV
    files.write_csv(asked, path)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    files.write_csv(asked, path)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize("settled", [[], [3, 7]])
def test_what_the_images_cover_never_falls_and_ends_where_all_together_do(embeddings, settled):
    wanted = Request("k-center", 5, settled=np.array(settled, np.int64))
    plan = choose(embeddings, wanted)
    found = write.measure_coverage(plan, embeddings)
    assert list(found.by_rank) == sorted(found.by_rank)
    assert len(found.by_rank) == 5
    assert found.by_rank[-1] == found.coverage.within_radius


def test_the_curve_of_many_labels_is_measured_on_fewer_images(monkeypatch):
    rng = np.random.default_rng(1)
    embeddings = rng.standard_normal((3_000, 3)).astype(np.float32)
    settled = np.arange(1_500)
    plan = LabelPlan("random", 0, np.array([2_000]), settled, settled, np.zeros(3_000), None)
    of_all = write.measure_coverage(plan, embeddings).by_rank[0]
    monkeypatch.setattr(write, "_DISTANCES", 1_500_000)
    of_some = write.measure_coverage(plan, embeddings).by_rank[0]
    assert of_some != of_all
    assert of_some == pytest.approx(of_all, abs=0.05)
