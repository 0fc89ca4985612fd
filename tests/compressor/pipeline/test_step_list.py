"""The list of steps: conditions of the recipe, and the README's table."""

import re
from pathlib import Path

import pytest

from compressor.pipeline.context import Run
from compressor.pipeline.step_list import BEFORE_SELECTION, LEARNING, steps_of
from compressor.recipe import plan as plans

README = Path(__file__).parents[3] / "README.md"
EVERYTHING = (
    "export.precisions=[fp32, fp16, int8]",
    "export.input=uint8",
    "export.engines=[tensorrt]",
    "student.weights=hub",
    "export.formats=[ncnn, litert]",
)


@pytest.fixture
def names(write_recipe, tmp_path):
    return lambda *changes: [
        step.name for step in steps_of(Run(plans.load(write_recipe(), changes), tmp_path))
    ]


def test_a_step_comes_after_all_that_it_needs(write_recipe, tmp_path):
    steps = steps_of(Run(plans.load(write_recipe(), EVERYTHING), tmp_path))
    before = set()
    for step in steps:
        assert set(step.needs) <= before, step.name
        before.add(step.name)


def test_no_output_is_made_by_two_steps(write_recipe, tmp_path):
    steps = steps_of(Run(plans.load(write_recipe(), EVERYTHING), tmp_path))
    outputs = [output for step in steps for output in step.outputs]
    assert len(outputs) == len(set(outputs))


def test_the_recipe_decides_the_files(names):
    plain = names()
    assert set(names(EVERYTHING[0])) - set(plain) == {"fp16", "int8_screening", "int8"}
    assert set(names(EVERYTHING[1])) - set(plain) == {"camera"}
    assert set(names(EVERYTHING[2])) - set(plain) == {"engines"}
    assert set(names(EVERYTHING[3])) - set(plain) == {"start"}
    assert set(names(EVERYTHING[4])) - set(plain) == {"ncnn", "litert"}
    assert tuple(plain[: len(BEFORE_SELECTION)]) == BEFORE_SELECTION
    assert set(LEARNING) < set(plain)


def test_the_table_of_the_readme_has_all_steps_in_order(names):
    table = README.read_text(encoding="utf-8").split("| step | makes |")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    shown = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    shown.remove("selection")  # only while labels are missing
    assert shown == names(*EVERYTHING)
