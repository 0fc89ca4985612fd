"""Write the folders of this repository, and what each holds, into README.md.

python tools/room_tree.py
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOP = ("compressor", "export", "runtime", "recipes", "tests", "benchmarks", "docs", "tools")
CLOSED = {
    "recipes": "the embedded example and the target devices",
    "benchmarks": "the measurements behind `docs/results`",
    "tests": "one folder for each folder above, and `e2e` for whole runs",
    "docs": "documents, decisions, results, JSON Schemas",
}
"""Folders shown without their subfolders, and why."""
BLOCK = re.compile(r"(<!-- tree: tools/room_tree.py -->\n```\n).*?(```\n)", re.DOTALL)


def tree() -> str:
    """Return the folders as `tree -d` shows them, each Python package with its sentence."""
    rows = [row for name in TOP for row in _rows(ROOT / name, "", last=name == TOP[-1])]
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {about}".rstrip() + "\n" for name, about in rows)


def readme_with_tree(text: str) -> str:
    """Return the README's text with its tree as the folders are now."""
    return BLOCK.sub(lambda match: match[1] + tree() + match[2], text)


def _rows(folder: Path, indent: str, *, last: bool) -> list[tuple[str, str]]:
    rows = [(f"{indent}{'└' if last else '├'}── {folder.name}", _about(folder))]
    below = [] if folder.name in CLOSED else _subfolders(folder)
    for child in below:
        rows += _rows(child, indent + ("    " if last else "│   "), last=child == below[-1])
    return rows


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders that hold files, sorted by name; templates belong to their package."""
    children = (child for child in folder.iterdir() if child.is_dir())
    shown = (each for each in children if each.name[0] not in "._" and each.name != "templates")
    return sorted(child for child in shown if any(path.is_file() for path in child.glob("*.*")))


def _about(folder: Path) -> str:
    """Return the first line of the package's docstring."""
    if folder.name in CLOSED:
        return CLOSED[folder.name]
    path = folder / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.exists() else None
    return text.splitlines()[0] if text else ""


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(readme_with_tree(readme.read_text(encoding="utf-8")), encoding="utf-8")
