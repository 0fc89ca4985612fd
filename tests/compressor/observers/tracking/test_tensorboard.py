"""TensorBoard: event files are written, and read back with TensorBoard's own reader."""

import pytest

import compressor

pytest.importorskip("tensorboard")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(found, name):
    return {each.step: each.value for each in found.Scalars(name)}


def text(found, name):
    return found.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0].decode()


def test_a_run_is_there_with_recipe_epochs_ledger_and_report(finished_run, accuracy):
    told = finished_run.play_all("tensorboard")
    found = read(finished_run.folder / "tensorboard" / "1")
    assert scalars(found, "train/similarity") == {0: 0.25, 1: 0.75}
    assert scalars(found, "train/student_loss") == {1: 2.0}
    name, value, low = accuracy
    assert scalars(found, name) == {0: pytest.approx(value)}
    assert scalars(found, f"{name}_low") == {0: pytest.approx(low)}
    assert "| distill.epochs | 1 |" in text(found, "recipe")
    assert text(found, "report") == "# tiny: passed\n"
    assert text(found, "outcome") == "done"
    hparams = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"distill.method" in hparams
    assert "tensorboard --logdir" in told[0].text


def test_a_failed_run_is_there_with_its_reason(finished_run):
    finished_run.play_failed("tensorboard")
    found = read(finished_run.folder / "tensorboard" / "1")
    assert text(found, "outcome") == "failed"
    assert text(found, "reason") == "labels.csv: no such image"
    assert scalars(found, "train/similarity") == {0: 0.25}


def test_a_run_that_failed_goes_on_where_it_was_and_a_done_one_is_not_touched(finished_run):
    finished_run.play_failed("tensorboard")
    finished_run.play_all("tensorboard")
    folder = finished_run.folder / "tensorboard"
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert scalars(read(folder / "1"), "train/similarity") == {0: 0.25, 1: 0.75}
    finished_run.play_all("tensorboard")
    assert {path.name for path in folder.iterdir()} == {"1", "2"}


def test_a_real_run_is_tracked_and_so_is_the_reason_why_one_failed(write_recipe, tmp_path):
    folder = tmp_path / "run"

    def failing(event):
        if isinstance(event, compressor.EpochEnded) and event.epoch == 1:
            raise OSError("the disk is gone")

    recipe = write_recipe({"check": {"robustness_images": 0}})
    with pytest.raises(OSError, match="the disk is gone"):
        compressor.run(recipe, out=folder, on_event=failing, track=["tensorboard"])
    found = read(folder / "tensorboard" / "1")
    assert text(found, "outcome") == "failed"
    assert text(found, "reason") == "the disk is gone"
    told = []
    result = compressor.run(recipe, out=folder, on_event=told.append, track=["tensorboard"])
    found = read(folder / "tensorboard" / "1")
    assert scalars(found, "train/similarity").keys() == {1}
    entry = result.report.entry("onnx-fp32")
    assert scalars(found, "onnx-fp32/size_mb") == {0: pytest.approx(entry.size_mb)}
    assert "onnx-fp32" in text(found, "report")
    assert not [e for e in told if isinstance(e, compressor.Message) and "not tracked" in e.text]
