"""What a device's folder may hold, whole or not: each file is used, or told with the reason."""

import json

import pytest

from compressor.data.devices import copied, device_folder
from compressor.data.devices.device_folder import Stream
from image_folders import encoded, picture
from runtime.errors import InputError


@pytest.fixture
def device(tmp_path):
    """A monitor's folder with three images of the student `s`."""
    folder = tmp_path / "device"
    (folder / "kept").mkdir(parents=True)
    for number, interest in enumerate((0.2, 0.9, 0.5)):
        keep(folder, f"{number}.png", interest=interest)
    return folder


def keep(folder, name, *, content=None, seed=None, **changes):
    """Write an image as a monitor keeps it, and its note."""
    number = sum(map(ord, name)) if seed is None else seed
    note = {
        "image": name,
        "interest": 0.5,
        "seen": "20261129T000000Z",
        "label": "red",
        "confidence": 0.6,
        "is_outlier": False,
        "likeness": 0.8,
        "embedding": [1.0, 0.0],
        "student": "s",
        **changes,
    }
    (folder / "kept" / name).write_bytes(content or encoded(picture(number)))
    (folder / "kept" / f"{name}.json").write_text(json.dumps(note))


def bring(device, into, **changes):
    how = {"known": {}, "students": {"s"}, "max_megapixels": 10.0, **changes}
    return copied.copy(device_folder.read(device), into, **how)


def reasons(left_out):
    return {each.name: each.why for each in left_out}


def test_the_most_interesting_come_first_and_either_folder_can_be_named(device):
    found = device_folder.read(device)
    assert [note.image for note in found.notes] == ["1.png", "2.png", "0.png"]
    assert found == device_folder.read(device / "kept")


def test_what_is_half_written_or_not_of_the_monitor_is_told(device, tmp_path):
    kept = device / "kept"
    (kept / "half.png").write_bytes(b"\x89PNG")
    (kept / ".3.png.77.tmp").write_bytes(b"")
    keep(device, "cut.png")
    (kept / "cut.png.json").write_text('{"image": "cut.p')
    keep(device, "gone.png")
    (kept / "gone.png").unlink()
    keep(device, "evil.png", image="../../secret.png")
    keep(device, "link.png")
    (kept / "link.png").unlink()
    (kept / "link.png").symlink_to(tmp_path / "secret.png")
    found = device_folder.read(device)
    assert len(found.notes) == 3
    why = reasons(found.left_out)
    assert why.keys() == {
        "half.png",
        ".3.png.77.tmp",
        "cut.png.json",
        "gone.png.json",
        "evil.png.json",
        "link.png.json",
    }
    assert "half-written" in why["half.png"]
    assert "half-written" in why["gone.png.json"]
    assert "another name" in why["evil.png.json"]
    assert "a link" in why["link.png.json"]


def test_whole_windows_are_summed_for_each_student(device):
    window = {"event": "window", "of": 200, "outlier_share": 0.1}
    lines = [
        {"event": "start", "student": "s", "file": "onnx-fp32"},
        window,
        {**window, "outlier_share": 0.3},
        {"event": "start", "student": "t"},
        window,
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"event": "win'
    (device / "events.jsonl").write_text(text)
    assert device_folder.read(device).seen == {"s": Stream(400, 80), "t": Stream(200, 20)}


@pytest.mark.parametrize(
    ("where", "why"), [("none", "no such folder"), ("empty", "no folder of a monitor")]
)
def test_a_folder_that_is_none_of_a_monitor_is_refused(tmp_path, where, why):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=why):
        device_folder.read(tmp_path / where)


def test_a_monitor_that_kept_nothing_yet_is_told(tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(InputError, match="has kept no image yet"):
        device_folder.read(tmp_path)


def test_only_whole_new_images_of_a_known_student_are_copied(device, tmp_path):
    keep(device, "damaged.png", content=encoded(picture(9))[:50])
    keep(device, "strange.png", student="of another run")
    keep(device, "twin.png", seed=sum(map(ord, "1.png")), interest=0.1)
    keep(device, "old.png", student="")  # of a version that named none
    into = tmp_path / "back"
    found = bring(device, into)
    assert found.folder == into / "001"
    names = ["1.png", "2.png", "old.png", "0.png"]
    assert [path.name for path in found.images] == names
    why = reasons(found.left_out)
    assert why["strange.png"] == "kept by a student that is not of this run"
    assert why["twin.png"].startswith("known already: the same pixels as 1.png")
    assert "damaged" in why["damaged.png"]
    files = {path.name for path in (into / "001").iterdir()}
    assert files == {*names, "returned.json", "left_out.csv"}
    noted = json.loads((into / "001" / "returned.json").read_text())
    assert [each["image"] for each in noted["images"]] == names


def test_a_second_copy_of_the_folder_brings_only_what_is_new(device, tmp_path):
    into = tmp_path / "back"
    bring(device, into)
    again = bring(device, into)
    assert (again.folder, again.images, again.known) == (None, (), 3)
    keep(device, "new.png")
    more = bring(device, into)
    assert [path.name for path in more.images] == ["new.png"]
    assert sorted(path.name for path in into.iterdir()) == ["001", "002"]


def test_a_folder_without_any_image_that_can_be_used_is_refused_and_leaves_nothing(
    device, tmp_path
):
    with pytest.raises(InputError, match=r"none of 3 files can be used(?s:.*)not of this run"):
        bring(device, tmp_path / "back", students={"t"})
    assert list((tmp_path / "back").iterdir()) == []


def test_a_copy_that_was_stopped_is_made_again(device, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copied, "inspect", stop)
        with pytest.raises(KeyboardInterrupt):
            bring(device, tmp_path / "back")
    (tmp_path / "back" / ".001.tmp").mkdir()  # as a killed one leaves it
    assert len(bring(device, tmp_path / "back").images) == 3
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["001"]


def test_an_image_that_the_device_removes_in_the_meantime_is_told_and_the_others_are_copied(
    device, tmp_path
):
    found = device_folder.read(device)
    (device / "kept" / "1.png").unlink()
    brought = copied.copy(found, tmp_path / "back", known={}, students={"s"}, max_megapixels=10.0)
    assert [path.name for path in brought.images] == ["2.png", "0.png"]
    assert reasons(brought.left_out) == {"1.png": "cannot be read: No such file or directory"}
    assert "1.png" in (brought.folder / copied.LEFT_OUT).read_text()
