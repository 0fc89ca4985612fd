"""Centring of the teacher's features."""

import pytest
import torch

from compressor.distillation.methods.centring import Centring
from compressor.models.features import Features


def sample(dim=8, count=20, *, maps=True, grid=(2, 3)):
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(count, dim, generator=generator)
    return Features(pooled, torch.randn(6, *grid, dim, generator=generator) if maps else None)


def test_embedding_and_map_cells_have_a_mean_each():
    teacher = sample()
    centred = Centring(teacher, enabled=True).apply(teacher)
    assert centred.pooled.mean(dim=0).abs().max() < 1e-6
    assert centred.maps.mean(dim=(0, 1, 2)).abs().max() < 1e-6
    other = Features(teacher.pooled + 1, None)
    assert torch.allclose(
        Centring(teacher, enabled=True).apply(other).pooled, centred.pooled + 1, atol=1e-6
    )


@pytest.mark.parametrize(("of", "enabled"), [(sample(), False), (None, True), (None, False)])
def test_without_a_sample_or_when_not_enabled_nothing_changes(of, enabled):
    teacher = sample()
    found = Centring(of, enabled=enabled).apply(teacher)
    assert torch.equal(found.pooled, teacher.pooled)
    assert torch.equal(found.maps, teacher.maps)


def test_a_sample_without_maps_has_a_mean_too():
    teacher = sample(maps=False)
    found = Centring(teacher, enabled=True).apply(teacher)
    assert found.maps is None
    assert found.pooled.mean(dim=0).abs().max() < 1e-6
