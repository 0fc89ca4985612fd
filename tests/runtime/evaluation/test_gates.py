"""The table of gates is what recipes, bundles and the document know."""

from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="recipes are read on the desk only")

from compressor.recipe.plan import load
from compressor.recipe.schema import Require
from runtime.bundle.schema import Requirements
from runtime.errors import InputError
from runtime.evaluation import gates
from runtime.report import described

FIDELITY = (Path(__file__).parents[3] / "docs" / "fidelity.md").read_text(encoding="utf-8")


def test_recipes_and_bundles_know_the_same_gates_as_the_table():
    named = {gate.key for gate in gates.of_recipes()}
    assert set(Require.model_fields) - {"undecided"} == named
    assert set(Requirements.__struct_fields__) - {"undecided"} == named


@pytest.mark.parametrize("gate", gates.of_recipes(), ids=lambda gate: gate.key)
def test_a_recipe_is_refused_a_gate_that_it_cannot_measure(gate, write_recipe):
    """By the table: `labels` and `data.ood` are what a recipe may lack."""
    recipe = write_recipe({"data.labels": "none", f"require.{gate.key}": 0.5})
    lacking = {"labels", "data.ood"} & set(gate.needs)
    if not lacking:
        load(recipe)
        return
    with pytest.raises(InputError, match=rf"require\.{gate.key}: needs {lacking.pop()}"):
        load(recipe)


def test_the_documented_tables_are_the_tables_of_the_code():
    """Where this fails, copy the output of `described` between the marks in docs/fidelity.md."""
    for name, table in (("metrics", described.metrics()), ("gates", described.requirements())):
        _, _, after = FIDELITY.partition(f"<!-- begin {name}: generated from runtime/evaluation/")
        documented, end, _ = after.partition(f"\n<!-- end {name} -->")
        assert end
        assert documented.partition("\n")[2] == table
