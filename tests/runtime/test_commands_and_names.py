"""Commands that can be pasted, names that steer no terminal, and locales that are not UTF-8."""

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.errors import InputError, from_file_system
from runtime.text import command, printable, shortened

ROOT = Path(__file__).parents[2]
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(NAMES, min_size=1, max_size=3))
@example(["my photos", "Übung", "it's", "$HOME", "`id`", "a;b", "*", "猫"])
def test_a_command_is_read_back_by_a_shell(words):
    shown = command("compressor", *words)
    assert printable(shown) == shown
    if "$'" not in shown:  # what a POSIX shell of any age reads
        assert shlex.split(shown) == ["compressor", *words]


@pytest.mark.parametrize(
    "name", ["a\x1b[2Jb", "a\nb", "it's\tx\\", "\u202egpj.exe", "a\x85é", "-\x07"]
)
def test_signs_that_are_not_seen_are_quoted_for_bash(name):
    shown = command("printf", "%s", name)
    done = subprocess.run(["bash", "-c", shown], capture_output=True, check=True)
    assert done.stdout.decode() == name


def test_a_file_that_begins_with_a_minus_is_no_option():
    assert command("compressor", "run", Path("-x")) == "compressor run ./-x"
    assert command("compressor", "run", Path("-x y"), "--out", Path("a b")) == (
        "compressor run './-x y' --out 'a b'"
    )


@given(st.text())
@example("\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066\ufeff\x7f\r")
def test_a_text_that_is_printed_steers_no_terminal(text):
    shown = printable(text)
    assert all(sign in "\n\t" or sign >= " " for sign in shown)
    assert not set(shown) & set("\x7f\x9b\u200b\u202e\u2028\u2066\ufeff")
    assert isinstance(shown.encode(), bytes)  # no half of a pair
    assert printable(shown) == shown


def test_names_of_any_script_stay_as_they_are():
    for name in ("Blüte é", "猫/1.png", "кот", "🐈", "ก็", "a-b_c (1).jpg"):
        assert printable(name) == name


@pytest.mark.parametrize("length", [0, 1, 5_499, 5_500])
def test_a_message_of_a_usual_length_is_not_shortened(length):
    assert shortened("x" * length) == "x" * length


def test_of_a_longer_message_the_middle_is_left_out_and_said():
    text = "a" * 4_000 + "b" * 1_234 + "c" * 1_500
    assert shortened(text) == f"{'a' * 4_000} [... 1,234 characters ...] {'c' * 1_500}"


def test_everything_is_printed_by_the_two_functions_that_escape():
    """`say` for results and messages, `note` for lines beside a bar."""
    allowed = {
        ("runtime/cli.py", "say"),
        ("runtime/cli.py", "_fail"),
        ("compressor/cli/console.py", "note"),
        ("runtime/backends/limits.py", "answer_here"),  # to the process that started it
        ("export/samples/reproduce.py", "reproduces"),  # a program of its own; prints numbers
    }
    found = set()
    for package in ("compressor", "export", "runtime"):
        for path in (ROOT / package).rglob("*.py"):
            for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(function, ast.FunctionDef) and any(
                    isinstance(node, ast.Call)
                    and ast.unparse(node.func) in ("click.echo", "click.secho", "print")
                    for node in ast.walk(function)
                ):
                    found.add((path.relative_to(ROOT).as_posix(), function.name))
    assert found <= allowed


LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
]


@pytest.mark.slow
@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_a_folder_with_an_umlaut_works_in_any_locale(tmp_path, locale):
    folder = tmp_path / "Übung 猫"
    for name in ("Blüte", "кот"):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name} 1.png").write_bytes(b"no image")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    environment.pop("PYTHONUTF8", None)
    done = subprocess.run(
        [sys.executable, "-m", "compressor", "audit", str(folder)],
        env={**environment, **locale}, capture_output=True, check=False,
    )  # fmt: skip
    shown = (done.stdout + done.stderr).decode("latin-1")
    assert (done.returncode, "Traceback" in shown) == (0, False), shown
    assert "2 files rejected" in shown
    if "PYTHONIOENCODING" not in locale:
        assert "Blüte 1, кот 1" in done.stderr.decode()


def test_a_name_that_the_locale_lacks_is_an_error_of_the_user(monkeypatch):
    """The API cannot start Python again, as the command lines do."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    with pytest.raises(InputError, match="Set PYTHONUTF8=1"), from_file_system():
        "Übung".encode("ascii")
    monkeypatch.undo()
    with pytest.raises(UnicodeEncodeError), from_file_system():  # then it is a mistake of ours
        "Übung".encode("ascii")


@pytest.mark.slow
@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_the_device_command_names_a_missing_bundle_in_any_locale(tmp_path, locale):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "check", "Übung/bundle", "--out", str(tmp_path / "é")],
        env={**environment, **locale}, cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"not a bundle" in done.stderr
