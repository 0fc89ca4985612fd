"""A new strategy is one new file and one line: the file and the line that the fixture writes."""

import sys

import numpy as np
import pytest

from compressor.recipe import choices
from compressor.recipe.schema import Label, json_schema
from compressor.selection.choose import Request, choose
from compressor.selection.simulation import Sample, SimulationGrid, simulate

FILE = '''
import numpy as np


class FirstRows:
    """Chooses the first images that have no label."""

    def choose(self, problem):
        free = np.setdiff1d(np.arange(len(problem.space)), problem.fixed)
        return free[: problem.budget]


FIRST_ROWS = FirstRows()
'''


@pytest.fixture
def invented(monkeypatch, tmp_path):
    (tmp_path / "invented_strategy.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    line = choices.StrategyChoice("first-rows", "invented_strategy:FIRST_ROWS", "#123456")
    monkeypatch.setitem(choices.STRATEGIES, "first-rows", line)
    yield
    sys.modules.pop("invented_strategy", None)


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


@pytest.mark.usefixtures("invented")
def test_it_chooses(embeddings):
    request = Request("first-rows", 3, settled=np.array([1]))
    assert choose(embeddings, request).chosen.tolist() == [0, 2, 3]


@pytest.mark.usefixtures("invented")
def test_a_recipe_may_name_it_and_its_schema_lists_it():
    assert Label(strategy="first-rows").strategy == "first-rows"
    strategy = json_schema()["$defs"]["Label"]["properties"]["strategy"]
    assert "first-rows" in strategy["enum"]


@pytest.mark.usefixtures("invented")
def test_a_simulation_tries_it_and_draws_it(embeddings):
    labels = np.arange(30) % 3
    assert "first-rows" in SimulationGrid().strategies
    grid = SimulationGrid(("first-rows", "random"), (10,), seeds=2)
    outcomes = simulate(Sample(embeddings, labels), None, grid)
    assert [each.strategy for each in outcomes].count("first-rows") == 2


def test_without_its_line_it_is_refused_with_the_names_there_are(embeddings):
    with pytest.raises(ValueError, match="'first-rows': not one of cold-paws, "):
        choose(embeddings, Request("first-rows", 3))
    with pytest.raises(ValueError, match="'cold-paws', "):
        Label(strategy="first-rows")
