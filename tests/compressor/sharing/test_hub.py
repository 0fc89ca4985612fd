"""`compressor push` to a hub on this machine, through huggingface_hub's own client."""

import shutil
import sys

import pytest

from compressor.cli import app

# The hub's client sends a file in a way that its HTTP client will not take for ever.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
TOKEN = "hf_0123456789abcdefghij"


@pytest.fixture
def push(finished_run, monkeypatch, capfd):
    """Type `compressor push`; give exit code, stdout and stderr, in which the token never is."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")

    def push(*words):
        monkeypatch.setattr(sys, "argv", ["compressor", "push", str(finished_run), *words])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capfd.readouterr()
        assert TOKEN not in out + err
        assert "Traceback" not in err
        return ended.value.code, out, err

    return push


def test_a_run_is_one_private_commit_of_card_report_and_bundle(hub, push, finished_run):
    code, out, err = push("me/tiny")
    assert (code, out) == (0, f"pushed: {hub.url}/me/tiny\n"), (err, hub.asked[-3:])
    repository = hub.repositories["me/tiny"]
    assert repository["private"] is True
    assert len(repository["commits"]) == 1
    files = repository["files"]
    bundle = [path for path in (finished_run / "bundle").rglob("*") if path.is_file()]
    names = {path.relative_to(finished_run).as_posix() for path in bundle}
    assert set(files) == {"README.md", "report.json", "report.md", "report.html", *names}
    for name in names:  # also those that went by LFS
        assert files[name] == (finished_run / name).read_bytes()
    assert files["README.md"].startswith(b"---\nlicense: ")
    assert all(TOKEN.encode() not in content for content in files.values())
    assert any(TOKEN in line for line in hub.asked)
    assert "held-out images" in err


def test_images_that_are_not_of_the_task_are_told_too(push, finished_run, make_bundle):
    shutil.rmtree(finished_run / "bundle")
    shutil.copytree(make_bundle(images=16, ood=6), finished_run / "bundle")
    code, _, err = push("--dry-run")
    assert (code, err.count("would send")) == (0, 1)
    assert "among them 16 of your held-out images and 6 of data.ood" in err


def test_a_second_push_replaces_the_first_and_leaves_no_old_file(hub, push, finished_run):
    other = {"bundle/old.onnx": b"old", "notes.txt": b"mine"}
    hub.add("me/tiny", private=True, files=other)
    assert push("me/tiny")[0] == 0
    files = hub.repositories["me/tiny"]["files"]
    assert "bundle/old.onnx" not in files
    assert files["notes.txt"] == b"mine"


def test_a_public_repository_is_refused_unless_it_is_asked_for(hub, push):
    hub.add("me/tiny", private=False)
    code, _, err = push("me/tiny")
    assert code == 2
    assert "is public" in err
    assert not hub.repositories["me/tiny"]["files"]
    assert push("me/tiny", "--public")[0] == 0
    assert push("me/new", "--public")[0] == 0
    assert hub.repositories["me/new"]["private"] is False


def test_without_a_token_nothing_is_asked(hub, push, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    code, _, err = push("me/tiny")
    assert code == 3
    assert "hf auth login" in err
    assert not hub.asked


def test_a_refusal_says_what_to_do(hub, push):
    hub.refuses = 403
    code, _, err = push("me/tiny")
    assert code == 2
    assert "403" in err
    assert "HF_TOKEN" in err


def test_a_hub_that_fails_in_the_middle_has_nothing_half(hub, push):
    hub.fails_at = "/commit/"
    code, _, err = push("me/tiny")
    assert code == 3
    assert "same command" in err
    assert not hub.repositories["me/tiny"]["files"]


def test_a_hub_that_is_away_is_exit_code_3(hub, push, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, _, err = push("me/tiny")
    assert code == 3
    assert "cannot be reached" in err


@pytest.mark.parametrize("name", ["a/b/c", "me/ti ny", "--"])
def test_a_name_that_no_repository_can_have_is_refused(hub, push, name):
    assert push(name)[0] == 2
    assert not hub.asked


def test_a_dry_run_prints_the_card_and_sends_nothing(hub, push, finished_run):
    code, out, err = push("--dry-run", "--licence", "mit")
    assert code == 0
    assert out.startswith('---\nlicense: "mit"\n')
    assert "would send" in err
    assert not hub.asked


def test_what_is_asked_for_is_one_thing(push):
    assert push()[0] == 2
    assert push("me/tiny", "--to", "mlflow:tiny")[0] == 2
    assert push("--to", "ftp:tiny")[0] == 2


def test_an_altered_bundle_is_not_sent(hub, push, finished_run):
    shutil.copy(finished_run / "report.md", finished_run / "bundle" / "student.fp32.onnx")
    code, _, err = push("me/tiny")
    assert code == 2
    assert "student.fp32.onnx" in err
    assert not hub.asked
