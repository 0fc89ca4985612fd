"""Pages of the documentation site that no file holds: made from README, schemas and commands.

MkDocs calls the functions whose names begin with `on_` (`hooks:` in mkdocs.yml). A path in
backticks, such as `docs/label.md`, becomes a link to its page.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGES = ("compressor", "export", "runtime")


# --- what MkDocs calls -----------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for uri, make in PAGES.items():
        files.append(File.generated(config, uri, content=make()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn paths of documents in backticks into links."""
    depth = page.file.src_uri.count("/")
    uris = set(files.src_uris)

    def linked(found: re.Match[str]) -> str:
        uri = _MOVED.get(found[1], found[1].removeprefix("docs/"))
        return f"[{found[0]}]({'../' * depth}{uri})" if uri in uris else found[0]

    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)  # code stays as it is
    return "".join(part if part.startswith("```") else _PATH.sub(linked, part) for part in parts)


_PATH = re.compile(r"(?<!\[)`((?:docs/)?[\w/-]+\.md|CHANGELOG\.md)`")
_MOVED = {"recipes/README.md": "reference/recipes.md", "CHANGELOG.md": "changes.md"}


# --- the pages -------------------------------------------------------------------------------


def start() -> str:
    """Return the README, its links from the folder of documents."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.replace("](docs/", "](")


def recipes() -> str:
    """Return the list of recipes, and each with its comments."""
    text = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    examples = sorted((ROOT / "recipes" / "examples").glob("*.yaml"))
    shown = [
        f"## {path.stem}\n\n```yaml\n{path.read_text(encoding='utf-8')}```" for path in examples
    ]
    return "\n\n".join([text, *shown])


def targets() -> str:
    """Return each target with its numbers and their sources."""
    paths = sorted((ROOT / "recipes" / "targets").glob("*.yaml"))
    shown = [f"## {path.stem}\n\n```yaml\n{path.read_text(encoding='utf-8')}```" for path in paths]
    about = "# Targets\n\nA recipe names one of these in `target`, or the path of a file like them."
    return "\n\n".join([about, *shown])


def commands() -> str:
    """Return the help of every command."""
    from compressor.cli.app import commands as ours
    from runtime.__main__ import main as on_device

    parts = ["# The command line\n\nExit codes: see the start page."]
    for program, group in (("compressor", ours), ("python -m runtime", on_device)):
        parts += [f"## {program}\n\n```text\n{_help(program, group, None)}\n```"]
        parts += [
            f"### {program} {name}\n\n```text\n{_help(name, command, program)}\n```"
            for name, command in sorted(group.commands.items())
        ]
    return "\n\n".join(parts)


def _help(name: str, command: click.Command, program: str | None) -> str:
    parent = click.Context(click.Group(program), info_name=program) if program else None
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100)
    return command.get_help(context)


def python() -> str:
    """Return the public names of each package, with their docstrings."""
    parts = [
        "# Python, by name\n\nPublic names of the three packages. By use: [the API](../api.md)."
    ]
    for package in PACKAGES:
        room = importlib.import_module(package)
        parts += [f"# {package}", *(_named(room, name) for name in sorted(room.__all__))]
    return "\n\n".join(parts)


def _named(room: ModuleType, name: str) -> str:
    """Return what mkdocstrings reads one public name from: the module that defines it."""
    found = getattr(room, name)
    defined = str(getattr(found, "__module__", ""))
    ours = defined.partition(".")[0] in PACKAGES and hasattr(found, "__qualname__")
    return f"::: {defined}.{found.__qualname__}" if ours else f"## `{name}`"


def changes() -> str:
    """Return the changelog."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def whole_job() -> str:
    """Return the script that the tests run."""
    script = (ROOT / "docs" / "whole_job.py").read_text(encoding="utf-8")
    return f"# The whole job in Python\n\nThe tests run this script.\n\n```python\n{script}```"


def _document(name: str, title: str, about: str) -> Callable[[], str]:
    def page() -> str:
        if name == "recipe":
            from compressor.recipe.schema import json_schema

            schema = json_schema()
        else:
            path = ROOT / "docs" / "schemas" / f"{name}.schema.json"
            schema = json.loads(path.read_text(encoding="utf-8"))
        return "\n".join([f"# {title}\n\n{about}\n", *_sections(schema)])

    return page


def _sections(schema: dict[str, Any]) -> Iterator[str]:
    """Yield a table for the document, and one for each type that it is made of."""
    parts = {"": schema, **schema.get("$defs", {})}
    if "$ref" in schema:
        parts[""] = parts[schema["$ref"].rpartition("/")[2]]
    for name, part in parts.items():
        keys = part.get("properties", {})
        if not keys or (name and part is parts[""]):
            continue
        if name:
            yield f"\n## {name}\n\n{_plain(part.get('description', ''))}"
        yield "\n| key | value | meaning |\n|---|---|---|"
        for key, value in keys.items():
            yield f"| `{key}` | {_kind(value)} | {_plain(_meaning(value))} |"


def _meaning(value: dict[str, Any]) -> str:
    said = str(value.get("description", ""))
    if "default" not in value or isinstance(value["default"], dict):
        return said
    return f"{said} (default: `{json.dumps(value['default'])}`)".strip()


def _kind(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "allOf", "oneOf"):
        if several in value:
            return " or ".join(_kind(each) for each in value[several])
    if "enum" in value:
        return " or ".join(f"`{each}`" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    kind = value.get("type", "any")
    if kind == "array" and isinstance(value.get("items"), dict):
        return f"list of {_kind(value['items'])}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"map to {_kind(value['additionalProperties'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _plain(text: str) -> str:
    """Return text for a cell: on one line, no bar, no tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


PAGES: dict[str, Callable[[], str]] = {
    "index.md": start,
    "changes.md": changes,
    "tutorials/whole_job.md": whole_job,
    "reference/recipe.md": _document(
        "recipe", "The recipe", "Every key. `compressor schema` prints the same for an editor."
    ),
    "reference/recipes.md": recipes,
    "reference/targets.md": targets,
    "reference/commands.md": commands,
    "reference/python.md": python,
    "reference/report.md": _document(
        "report", "report.json", "What a check writes. `compressor schema --of report` prints it."
    ),
    "reference/bundle.md": _document(
        "bundle", "bundle.json", "What a bundle says of itself. `compressor schema --of bundle`."
    ),
}
"""Each page that is made, by its address."""
