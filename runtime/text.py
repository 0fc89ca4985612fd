"""Numbers, tables and foreign names as plain text."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Characters that steer a terminal (escape sequences), turn the order of letters around or are not
seen: a name with them shows another text than it has, or clears the screen."""


def printable(text: str, *, lines: bool = True) -> str:
    r"""Return a text that steers no terminal: what is not seen stands as an escape, as \x1b.

    Args:
        text: perhaps with names of files and classes, which anybody may have given.
        lines: whether line breaks and tabs stay; a name has none.
    """
    shown = _UNSEEN.sub(_escaped, text)
    return shown if lines else shown.replace("\n", "\\n").replace("\t", "\\t")


def _escaped(found: re.Match[str]) -> str:
    return (
        found[0].encode("ascii", "backslashreplace").decode()
        if ord(found[0]) > 127
        else (f"\\x{ord(found[0]):02x}")
    )


_FIRST, _LAST = 4_000, 1_500


def shortened(text: str) -> str:
    """Return a message of a length that can be read: the middle of a longer one is left out.

    What is wrong stands at its beginning and what to do at its end; between them may be a name or a
    value of any length.
    """
    left_out = len(text) - _FIRST - _LAST
    if left_out <= 0:
        return text
    return f"{text[:_FIRST]} [... {left_out:,} characters ...] {text[-_LAST:]}"


_MARKUP = re.compile(r"[\\`*\[\]<>|&~@]|(?<=www)\.|:(?=//)", re.IGNORECASE)
"""What Markdown or HTML in it reads as markup, or turns into a link, anywhere in a line."""


def inert(name: str) -> str:
    """Return a foreign name for a Markdown text: no viewer reads it as markup, link or picture.

    Args:
        name: of a file or class, which anybody may have given.
    """
    return _MARKUP.sub(lambda found: f"\\{found[0]}", printable(name, lines=False))


def in_code(name: str) -> str:
    """Return a foreign name for a Markdown text between backticks, which it cannot leave."""
    return printable(name, lines=False).replace("`", "'")


def without_markup(text: str) -> str:
    """Return a Markdown sentence of ours as plain text; what `inert` escaped stands as it was."""
    return _ESCAPED_OR_MARK.sub(lambda found: found[1] or "", text)


_ESCAPED_OR_MARK = re.compile(r"\\([\\`*\[\]<>|&~@.:])|[`*]")


def command(*words: object) -> str:
    """Return a command that can be pasted: words with spaces, umlauts or signs are quoted.

    Args:
        words: the program, its options and files; a `Path` whose name begins with `-` gets `./`
            before it, so that it is not taken for an option.
    """
    parts = (
        f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)
        for word in words
    )
    return " ".join(map(_quoted, parts))


def _quoted(word: str) -> str:
    if _UNSEEN.search(word) or "\n" in word or "\t" in word:
        codes = "".join(_in_quotes(byte) for byte in os.fsencode(word))
        return f"$'{codes}'"  # as bash, zsh and POSIX 2024 read it
    return shlex.quote(word)


def _in_quotes(byte: int) -> str:
    sign = chr(byte)
    return f"\\{sign}" if sign in "'\\" else sign if 32 <= byte < 127 else f"\\x{byte:02x}"


def amount(size: int) -> str:
    """A number of bytes for people: 12.3 MB, 4.5 GB."""
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is also readable as plain text."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|KEY|CREDENTIAL", re.IGNORECASE)
"""Of environment variables; PWD is the current folder."""
_SECRET_KEY = re.compile(rf"{_SECRET_NAME.pattern}|PASS|PWD|PIN|AUTH|USER", re.IGNORECASE)
_USER = re.compile(r"//[^/\s]*@")
"""To the last @ before the first slash: passwords of cameras have an @ of their own."""
_SMALL_NUMBER = re.compile(r"\d{1,3}")


def without_secrets(text: str) -> str:
    """Return what a library said, without what could be a secret.

    Users, passwords and queries of addresses go, and the values of environment variables whose
    names say that they are secret.
    """
    text = _USER.sub("//", text)
    text = re.sub(r"(://[^\s?'\")]*)\?[^\s'\")]*", r"\1", text)
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= 6:
            text = text.replace(value, "***")
    return text


def public_address(address: str) -> str:
    """Return an address as it may be shown: without user and password, its query's values hidden.

    Small numbers stay, which tell the channels of one camera apart. A path is returned as it is.
    """
    if "://" not in address:
        return address
    place, mark, query = _USER.sub("//", address).partition("?")
    return place + mark + "&".join(_hidden(part) for part in query.split("&"))


def _hidden(part: str) -> str:
    """Return a part of a query, `key=value`, without a value that could be a secret."""
    key, equals, value = part.partition("=")
    if not equals:
        return "***" if key else ""
    keep = _SMALL_NUMBER.fullmatch(value) and not _SECRET_KEY.search(key)
    return part if keep else f"{key}=***"


_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def guarded(cell: object) -> str:
    """Return a cell of a CSV that no spreadsheet computes; a number stays as it is.

    A spreadsheet computes a cell that begins with `=`, `+`, `-` or `@`, also a file name or a
    class. A quote before it makes it text (OWASP, CSV injection).
    """
    text = str(cell)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """Return what was given to `guarded`."""
    is_guarded = cell.startswith("'") and _FORMULA.match(cell) and guarded(cell[1:]) == cell
    return cell[1:] if is_guarded else cell
