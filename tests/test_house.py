"""The limits of the house: small files, small folders, rooms that say what they hold."""

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("reads pyproject.toml with tomllib", allow_module_level=True)

import tomllib

ROOT = Path(__file__).parents[1]
PACKAGES = ("compressor", "export", "runtime")
MOST_LINES, MOST_FILES = 300, 12

# What does not meet a limit yet. An entry that is no longer needed fails the test: it must go.
TOO_LONG: set[str] = set()
TOO_FULL: set[str] = set()

CODE = sorted(
    path.relative_to(ROOT)
    for top in (*PACKAGES, "benchmarks", "tests", "tools")
    for path in (ROOT / top).rglob("*.py")
)
ROOMS = sorted({path.parent for path in CODE if path.parts[0] in PACKAGES})
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_no_file_is_too_long():
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in CODE}
    assert {str(path) for path, count in lines.items() if count > MOST_LINES} == TOO_LONG


def test_no_folder_is_too_full():
    """Folders of tests are left out: they mirror the rooms, one file or more for each of theirs."""
    rooms = {room: len(list((ROOT / room).glob("*.py"))) for room in ROOMS}
    assert {str(room) for room, count in rooms.items() if count > MOST_FILES} == TOO_FULL


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_every_room_says_in_a_sentence_or_two_what_it_holds(room):
    text = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))
    first = (text or "").split("\n\n")[0]
    assert 1 <= len(re.findall(r"[.!?](?:\s|$)", first)) <= 3, first


def test_every_file_says_what_it_holds():
    files = [path for path in CODE if path.parts[0] != "tests"]
    silent = [path for path in files if not ast.get_docstring(ast.parse((ROOT / path).read_text()))]
    assert silent == []


def test_heavy_imports_are_allowed_by_folder_or_file_that_exists():
    """A pattern that matches nothing is left over from a move."""
    for pattern, rules in PYPROJECT["tool"]["ruff"]["lint"]["per-file-ignores"].items():
        if "TID253" in rules:
            names = re.fullmatch(r"(.*)\{(.*)\}(.*)", pattern)
            patterns = (
                [f"{names[1]}{name}{names[3]}" for name in names[2].split(",")]
                if names
                else [pattern]
            )
            for each in patterns:
                assert list(ROOT.glob(each)), each


def test_every_room_of_a_package_stands_in_its_import_contract():
    """`exhaustive` makes import-linter fail on a module of a package that no layer names."""
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    layered = {
        container: contract["exhaustive"]
        for contract in contracts
        for container in contract.get("containers", ())
    }
    assert layered == dict.fromkeys(PACKAGES, True)
