"""The documentation as a site: it builds without a warning, and asks no other server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import compressor
import export
import runtime
from compressor.cli.app import commands
from compressor.recipe.schema import Distill, Recipe

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def page(site, name):
    return (site / name).read_text(encoding="utf-8")


def test_nothing_comes_from_another_server(site):
    for path in site.rglob("*.html"):
        assert (
            re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]+', page(site, path))
            == []
        )


def test_paths_of_documents_became_links(site):
    assert '<a href="label.html"><code>docs/label.md</code></a>' in page(site, "index.html")
    assert '<a href="../device.html">' in page(site, "tutorials/command_line.html")


def test_every_key_of_a_recipe_is_in_its_reference(site):
    text = page(site, "reference/recipe.html")
    for key in [*Recipe.model_fields, *Distill.model_fields]:
        assert f"<code>{key}</code>" in text


def test_every_command_and_every_public_name_is_in_a_reference(site):
    text = page(site, "reference/commands.html")
    assert all(f"compressor {name}" in text for name in commands.commands)
    words = set(re.findall(r"\w+", re.sub(r"<[^>]+>", " ", page(site, "reference/python.html"))))
    for package in (compressor, export, runtime):
        assert set(package.__all__) <= words


def test_the_notebook_is_shown_with_what_it_printed(site):
    text = page(site, "tutorials/first_student.html")
    notebook = json.loads((ROOT / "docs/tutorials/first_student.ipynb").read_text(encoding="utf-8"))
    printed = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    pictures = [
        each["data"]["image/png"] for each in printed if "image/png" in each.get("data", {})
    ]
    assert len(pictures) == 2
    assert all("".join(each.split()) in text.replace("\n", "") for each in pictures)
