"""Recipes written into a folder with images."""

import pytest

from compressor.recipe import plan as plans
from runtime.errors import InputError
from smallest_recipe import SMALLEST


@pytest.fixture
def write(tmp_path):
    """Write a recipe beside an empty folder `photos`."""
    (tmp_path / "photos").mkdir()

    def write(text=SMALLEST):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def mistakes(write):
    """The lines of the error that loading gives, its path left out."""

    def mistakes(text, *overrides):
        path = write(text)
        with pytest.raises(InputError) as caught:
            plans.load(path, overrides)
        return [line.strip().replace(f"{path}:", "") for line in str(caught.value).splitlines()]

    return mistakes
