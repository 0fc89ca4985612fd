"""The command `compressor`, as somebody types it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

Go = Callable[..., tuple[Any, str, str]]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Go:
    """Type a command in the current folder: its exit code, stdout and stderr."""
    from compressor.cli import app

    def typed(*words: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["compressor", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return ended.value.code or 0, out, err

    return typed
