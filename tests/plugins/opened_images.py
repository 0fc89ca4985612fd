"""Which images a test opens, and that it binds no stand-in for longer than itself."""

import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest
from PIL import ImageFile

_OURS = ("compressor", "export", "runtime")


@pytest.fixture
def opens_no_image(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test fails if an image file is opened, by whatever function and thread."""
    opened = list[Any]()
    really = ImageFile.ImageFile.__init__

    def noted(self: ImageFile.ImageFile, *args: Any, **kwargs: Any) -> None:
        opened.append(args)
        really(self, *args, **kwargs)

    monkeypatch.setattr(ImageFile.ImageFile, "__init__", noted)
    yield
    assert opened == []


def _stand_ins() -> list[str]:
    """Names in our modules that hold a function of a test."""
    return [
        f"{module}.{name}"
        for module, loaded in list(sys.modules.items())
        if module.partition(".")[0] in _OURS
        for name, value in list(vars(loaded).items())
        if isinstance(value, FunctionType)
        and value.__code__.co_filename.rpartition("/")[2].startswith(("test_", "conftest"))
    ]


@pytest.fixture(autouse=True)
def no_stand_in_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module first imported while a function is patched would keep the stand-in for ever.

    It is asked for before `monkeypatch`, so it looks after that has put everything back.
    """
    yield
    if "monkeypatch" in request.fixturenames:
        assert _stand_ins() == [], "import this module at the top of the test file"
