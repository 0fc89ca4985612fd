"""`compressor schema` prints what docs/schemas publishes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compressor.cli.setup import schema

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def printed(*arguments):
    result = CliRunner().invoke(schema, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", ["bundle", "report"])
def test_the_published_schema_is_printed(name):
    published = (SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    assert printed("--of", name) == published


def test_without_an_option_it_is_the_recipes():
    found = json.loads(printed())
    assert found["title"] == "edge-compressor recipe"
    assert found == json.loads(printed("--of", "recipe"))
