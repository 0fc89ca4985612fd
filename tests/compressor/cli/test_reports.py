"""Commands about reports: a folder of them, and one that is opened."""

import json

import pytest
from click.testing import CliRunner

import runtime
from compressor.cli.app import commands
from runtime.errors import InputError


@pytest.fixture
def folder(tmp_path, sound_bundle):
    runtime.check(sound_bundle, out=tmp_path / "runs" / "third")
    (tmp_path / "runs" / "not-finished").mkdir()
    return tmp_path / "runs"


def test_runs_are_listed_for_people_and_as_json(folder):
    done = CliRunner().invoke(commands, ["runs", str(folder), "--json"])
    (found,) = json.loads(done.stdout)
    assert found["recipe"] == "tiny"
    table = CliRunner().invoke(commands, ["runs", str(folder)]).stdout
    assert "| third" in table
    assert f"{found['p95_ms']:.2f}" in table


def test_a_page_is_opened_or_its_address_printed(folder, monkeypatch):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda address: asked.append(address) or len(asked) == 1)
    page = (folder / "third" / "report.html").as_uri()
    for words, said in (
        (["third"], ""),
        (["third/report.html"], "no browser could be started"),
        (["third", "--print"], ""),
    ):
        done = CliRunner().invoke(commands, ["open", str(folder / words[0]), *words[1:]])
        assert (done.exit_code, done.stdout.strip()) == (0, page)
        assert said in done.stderr
    assert asked == [page, page]
    refused = CliRunner().invoke(commands, ["open", str(folder / "not-finished")])
    assert isinstance(refused.exception, InputError)
