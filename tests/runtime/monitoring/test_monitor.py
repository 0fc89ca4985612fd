"""Monitor: what it writes, what it keeps, what it tells; on a bundle made by hand."""

import json
import os
import resource
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

import runtime
from runtime.bundle import golden
from runtime.monitoring import monitor as monitors
from runtime.monitoring.kept_images import KeptImages, Note
from runtime.prediction.image_input import opened


@pytest.fixture(scope="module")
def student(sound_bundle):
    return runtime.load(sound_bundle)


@pytest.fixture(scope="module")
def answers(student, sound_bundle):
    """Predictions of many images like those of the bundle, in random order."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        pixels[..., rng.choice([0, 2])] //= 2
        found += student.predict(pixels)
    return found


def lines(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def strange(answer):
    """The same answer, to an image that is like nothing the student knows."""
    return replace(answer, likeness=answer.likeness - 2, is_outlier=True)


def test_nothing_is_told_while_nothing_changes_and_every_window_is_written(
    student, answers, tmp_path
):
    monitor = runtime.Monitor(student, tmp_path, reference=answers[:200])
    assert [alarm for each in answers[200:] for alarm in monitor.see(each)] == []
    start, window = lines(tmp_path)
    assert (start["event"], start["reference"]) == ("start", 200)
    assert (window["event"], window["images"], window["of"]) == ("window", 200, 200)
    assert sum(window["classes"].values()) == 200
    text = (tmp_path / "metrics.prom").read_text()
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert float(numbers["edge_compressor_images_total"]) == 200
    assert float(numbers["edge_compressor_outlier_share"]) == pytest.approx(window["outlier_share"])
    assert len(list(tmp_path.glob("kept/*"))) == 0


def test_a_change_is_told_once_and_the_evidence_begins_anew(student, answers, tmp_path):
    monitor = runtime.Monitor(student, tmp_path, reference=answers[:200])
    told = [alarm for each in answers[200:230] for alarm in monitor.see(strange(each))]
    assert [alarm.signal for alarm in told][:1] == ["likeness"]
    assert "less like the training images" in told[0].text
    assert told[0].evidence >= 3 * 10_000
    assert monitor.alarms["likeness"] == len([each for each in told if each.signal == "likeness"])
    event = next(each for each in lines(tmp_path) if each["event"] == "alarm")
    assert (event["signal"], event["images"]) == ("likeness", told[0].images)
    assert monitor.figures()["evidence"]["likeness"] < told[0].evidence


def test_without_a_reference_the_held_out_images_of_the_bundle_are_it(
    student, sound_bundle, answers, tmp_path, monkeypatch
):
    monkeypatch.setattr(monitors, "FEWEST", 2)
    monitor = runtime.Monitor(student, tmp_path)
    held_out = golden.load(sound_bundle / "golden").arrays.student_embedding
    assert lines(tmp_path)[0]["reference"] == len(held_out)
    monitor.see(answers[0])
    assert monitor.images == 1


def test_a_folder_in_the_bundle_is_refused_and_the_bundle_stays_whole(student, answers):
    inside = student.bundle.folder / "monitor"
    with pytest.raises(runtime.InputError, match="lies in the bundle"):
        runtime.Monitor(student, inside, reference=answers[:200])
    assert not inside.exists()
    runtime.load(student.bundle.folder)


def test_too_small_a_reference_is_refused(student, answers, tmp_path):
    with pytest.raises(runtime.InputError, match="5 images to compare the stream with"):
        runtime.Monitor(student, tmp_path, reference=answers[:5])


def test_the_unsure_and_the_strange_are_interesting(student, answers, tmp_path):
    monitor = runtime.Monitor(student, tmp_path, reference=answers[:200])
    sure = replace(answers[0], probabilities=np.array([0.999, 0.001]), likeness=2.0)
    unsure = replace(sure, probabilities=np.array([0.51, 0.49]))
    assert monitor.interest(sure) < 0.01
    assert monitor.interest(unsure) == pytest.approx(0.98)
    assert monitor.interest(replace(sure, likeness=-2.0)) == 1


def test_a_line_left_half_written_is_ended_and_the_rest_can_be_read(student, answers, tmp_path):
    (tmp_path / "events.jsonl").write_bytes(b'{"event": "sta')
    runtime.Monitor(student, tmp_path, reference=answers[:200])
    first, second = (tmp_path / "events.jsonl").read_text().splitlines()
    assert first == '{"event": "sta'
    assert json.loads(second)["event"] == "start"


def note(interest, *embedding, name="a"):
    return Note(name, interest, "20261129T000000Z", "red", 0.5, False, 0.9, list(embedding))


def picture(value):
    return np.full((16, 16, 3), value, np.uint8)


def random_picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)


def directions(count):
    return np.eye(count).tolist()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_most_interesting_images_are_kept_within_the_limit(tmp_path):
    kept = KeptImages(tmp_path, 0.03)
    interests = np.random.default_rng(0).permutation(40) / 40
    for seed, (interest, direction) in enumerate(zip(interests, directions(40), strict=True)):
        kept.offer(random_picture(seed), note(float(interest), *direction, name=f"{seed:02d}"))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size == kept.bytes <= 30_000
    assert 4 < len(kept) < 12
    found = sorted(json.loads(path.read_text())["interest"] for path in tmp_path.glob("*.json"))
    assert found == sorted(interests)[-len(kept) :]
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), random_picture(int(path.stem)))


def test_of_two_alike_the_more_interesting_is_kept(tmp_path):
    kept = KeptImages(tmp_path, 1)
    assert kept.offer(picture(1), note(0.5, 1, 0, name="first"))
    assert not kept.offer(picture(2), note(0.4, 1, 0.01, name="duller"))
    assert kept.offer(picture(3), note(0.6, 1, 0.01, name="better"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["better.png", "better.png.json"]


def test_a_new_process_goes_on_with_what_is_there(tmp_path):
    first = KeptImages(tmp_path, 1)
    for seed, direction in enumerate(directions(5)):
        first.offer(random_picture(seed), note(0.1 * seed, *direction, name="same"))
    assert len(KeptImages(tmp_path, 1)) == 5
    assert len(KeptImages(tmp_path, first.bytes * 0.5e-6)) == 2  # a smaller limit
    assert len(list(tmp_path.iterdir())) == 4


def test_a_note_whose_image_was_never_written_is_removed_and_nothing_else(tmp_path):
    kept = KeptImages(tmp_path, 1)
    kept.offer(picture(1), note(0.5, 1, 0, name="whole"))
    (tmp_path / "gone.png.json").write_text(
        (tmp_path / "whole.png.json").read_text().replace("whole.png", "gone.png")
    )
    (tmp_path / "of somebody else.jpg").write_bytes(b"x")
    assert len(KeptImages(tmp_path, 1)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "of somebody else.jpg",
        "whole.png",
        "whole.png.json",
    ]


def test_a_note_that_names_a_file_elsewhere_touches_none(tmp_path):
    outside = tmp_path / "mine.png"
    outside.write_bytes(b"x")
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "evil.json").write_text(
        json.dumps(
            {
                "image": "../mine.png",
                "interest": 0.5,
                "seen": "",
                "label": None,
                "confidence": None,
                "is_outlier": None,
                "likeness": 1.0,
                "embedding": [1.0],
            }
        )
    )
    assert len(KeptImages(folder, 0.000001)) == 0
    assert outside.exists()


@pytest.mark.parametrize("form", ["path", "bytes", "array", "picture"])
def test_an_image_in_any_form_is_kept_as_a_file_that_can_be_read(form, tmp_path):
    Image.fromarray(picture(9)).save(tmp_path / "a.jpg")
    image = {
        "path": tmp_path / "a.jpg",
        "bytes": (tmp_path / "a.jpg").read_bytes(),
        "array": picture(9),
        "picture": Image.fromarray(picture(9)),
    }[form]
    kept = KeptImages(tmp_path / "kept", 1)
    assert kept.offer(image, note(0.5, 1.0))
    (file,) = [path for path in (tmp_path / "kept").iterdir() if path.suffix != ".json"]
    assert file.suffix == (".jpg" if form in ("path", "bytes") else ".png")
    with Image.open(file) as found:
        assert found.size == (16, 16)


def test_an_image_too_large_for_the_room_costs_no_other(tmp_path):
    kept = KeptImages(tmp_path, 0.01)
    for number, interest in enumerate((0.2, 0.3, 0.9)):
        assert kept.offer(b"x" * 2_000, note(interest, *directions(5)[number], name=f"{number}"))
    before = names(tmp_path)
    assert not kept.offer(b"x" * 20_000, note(1.0, *directions(5)[3], name="huge"))
    assert not kept.offer(b"x" * 8_000, note(0.5, *directions(5)[3], name="large and less"))
    assert not kept.offer(b"x" * 20_000, note(1.0, *directions(5)[2], name="huge twin"))
    assert names(tmp_path) == before
    assert kept.offer(b"x" * 4_500, note(0.5, *directions(5)[3], name="large"))
    assert names(tmp_path) == ["1", "1.json", "2", "2.json", "large", "large.json"]
    assert kept.bytes <= 10_000


def test_images_that_another_student_kept_stay_beside_those_of_the_next(tmp_path):
    first = structs.replace(note(0.5, 1, 0, name="a"), student="first")
    other = structs.replace(note(0.4, 1, 0, 0, name="b"), student="of another width")
    assert KeptImages(tmp_path, 1).offer(picture(1), first)
    kept = KeptImages(tmp_path, 1)
    assert kept.offer(picture(2), other)
    assert not kept.offer(picture(3), other)
    assert len(kept) == 2


def test_an_image_that_is_gone_is_not_kept_and_leaves_no_note(student, answers, tmp_path):
    monitor = runtime.Monitor(student, tmp_path, reference=answers[:200])
    monitor.see(strange(answers[0]), tmp_path / "removed by its camera.jpg")
    assert monitor.images == 1
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_write_that_fails_leaves_no_note(tmp_path):
    kept = KeptImages(tmp_path, 1)
    image, (soft, hard) = b"x" * 100_000, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # the note has room, the image not
    try:
        with pytest.raises(OSError, match="File too large"):
            kept.offer(image, note(0.5, 1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert kept.offer(image, note(0.5, 1.0))


def test_temporary_files_of_a_killed_process_are_removed_and_no_others(tmp_path):
    KeptImages(tmp_path, 1).offer(picture(1), note(0.5, 1.0, name="whole"))
    dead = subprocess.Popen(["true"])
    dead.wait()
    for number in (dead.pid, os.getpid(), os.getppid()):
        (tmp_path / f".half.png.{number}.tmp").write_bytes(b"x")
    assert len(KeptImages(tmp_path, 1)) == 1
    running = f".half.png.{os.getppid()}.tmp"
    assert names(tmp_path) == [running, "whole.png", "whole.png.json"]


def test_a_picture_is_kept_as_the_student_saw_it(tmp_path):
    turned = Image.fromarray(random_picture(3)[:8]).convert("CMYK")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.info["exif"] = exif.tobytes()
    kept = KeptImages(tmp_path, 1)
    assert kept.offer(turned, note(0.5, 1.0))
    with Image.open(tmp_path / "a.png") as found:
        assert np.array_equal(np.asarray(found), np.asarray(opened(turned, 0)))
        assert found.size == (8, 32)
