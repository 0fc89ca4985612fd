"""Weights & Biases, offline: its file is written, and read back record by record."""

import json
import struct
import time

import pytest

pytest.importorskip("wandb")
pytestmark = pytest.mark.filterwarnings("ignore")  # wandb's own

_BLOCK, _HEADER = 32_768, 7


def records(path):
    """Read a `.wandb` file: the log format of LevelDB (blocks of 32 KiB), with wandb's records."""
    from wandb.proto import wandb_internal_pb2

    content, at, parts, found = path.read_bytes(), _HEADER, b"", []
    assert content[:4] == b":W&B"
    while at + _HEADER <= len(content):
        if _BLOCK - at % _BLOCK < _HEADER:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + _HEADER])
        parts += content[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


@pytest.fixture
def played(finished_run, tmp_path, monkeypatch):
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.delenv("WANDB_MODE", raising=False)

    def play(how):
        told = how("wandb")
        assert [event.level for event in told] == ["info"], told
        (folder,) = (finished_run.folder / "wandb").glob("offline-run-*")
        (file,) = folder.glob("*.wandb")
        for _ in range(300):  # wandb's own process writes it, and may be a moment behind
            found = records(file)
            if found and found[-1].HasField("exit"):
                break
            time.sleep(0.1)
        return folder, found

    return play


def values(items):
    return {each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in items}


def test_a_run_is_there_with_recipe_epochs_ledger_report_and_bundle(played, finished_run, accuracy):
    folder, found = played(finished_run.play_all)
    config = next(each.run.config for each in found if each.HasField("run"))
    assert values(config.update)["distill.epochs"] == 1
    history = [values(each.history.item) for each in found if each.HasField("history")]
    epochs = {line["epoch"]: line["train/similarity"] for line in history}
    assert epochs == {0: 0.25, 1: 0.75}
    summary = {}
    for each in found:
        if each.HasField("summary"):
            summary |= values(each.summary.update)
    name, value, _ = accuracy
    assert summary[name] == pytest.approx(value)
    assert summary["outcome"] == "done"
    kept = {
        entry.path
        for each in found
        if each.HasField("request") or each.HasField("artifact")
        for artifact in (each.artifact, each.request.log_artifact.artifact)
        for entry in artifact.manifest.contents
    }
    assert {"report.json", "bundle.json", "recipe.resolved.yaml"} <= kept
    assert next(each.exit.exit_code for each in found if each.HasField("exit")) == 0
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"0123456789abcdef0123456789abcdef01234567" not in content


def test_a_failed_run_is_there_with_its_reason(played, finished_run):
    _, found = played(finished_run.play_failed)
    summary = {}
    for each in found:
        if each.HasField("summary"):
            summary |= values(each.summary.update)
    assert summary["outcome"] == "failed"
    assert summary["reason"] == "labels.csv: no such image"
    assert next(each.exit.exit_code for each in found if each.HasField("exit")) == 1
