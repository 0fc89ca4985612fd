"""One embedding and one map from every family of timm, whatever its `forward_features` gives."""

from typing import NamedTuple

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.models.features import Features, features_of, resample

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}
SWIN = {"img_size": 32, "embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
NARROW = {"channels": (8, 8, 16, 16)}
STAGES = {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}
COAT = {"img_size": 64, "serial_depths": (1, 1, 1, 1)}


class Family(NamedTuple):
    model: str
    args: dict
    size: int
    map: tuple[int, int, int] | None
    """Rows, columns and channels."""
    layout: str | int
    """Of `forward_features`: NCHW, NHWC, or how many tokens stand before the patches."""


FAMILIES = [
    Family("vit_small_patch16_224.augreg_in1k", VIT, 32, (4, 4, 24), 1),
    Family("vit_small_patch14_dinov2", VIT, 32, (4, 4, 24), 1),
    Family("vit_small_patch14_reg4_dinov2", VIT, 32, (4, 4, 24), 5),
    Family("vit_small_patch16_dinov3", VIT | {"embed_dim": 32}, 32, (4, 4, 32), 5),
    Family("vit_base_patch16_clip_224", VIT, 32, (4, 4, 24), 1),
    Family("vit_base_patch16_siglip_224", VIT, 32, (4, 4, 24), 0),
    Family("vit_base_patch16_siglip_gap_224", VIT, 32, (4, 4, 24), 0),
    Family("deit_tiny_patch16_224", VIT, 32, (4, 4, 24), 1),
    Family("deit_tiny_distilled_patch16_224", VIT, 32, (4, 4, 24), 2),
    Family("deit3_small_patch16_224", VIT, 32, (4, 4, 24), 1),
    Family("beit_base_patch16_224", VIT, 32, (4, 4, 24), 1),
    Family("eva02_tiny_patch14_224", VIT, 32, (4, 4, 24), 1),
    Family("swin_tiny_patch4_window7_224", SWIN, 32, (4, 4, 16), "NHWC"),
    Family("mambaout_femto", STAGES, 128, (4, 4, 16), "NHWC"),
    Family("convnext_atto", STAGES, 128, (4, 4, 16), "NCHW"),
    Family("resnet10t", NARROW, 128, (4, 4, 16), "NCHW"),
    Family("mobilenetv3_small_050", {}, 64, (2, 2, 288), "NCHW"),
    Family("efficientnet_b0", {}, 96, (3, 3, 1280), "NCHW"),
    Family("mixer_s32_224", {"img_size": 64}, 64, (2, 2, 512), 0),
    Family("levit_128s", {"img_size": 128}, 128, (2, 2, 384), 0),
    Family("pit_ti_224", {"img_size": 64}, 64, None, 1),
    Family("pit_ti_distilled_224", {"img_size": 64}, 64, None, 2),
    Family("coat_lite_tiny", COAT, 64, None, 1),
    Family("coat_tiny", COAT | {"parallel_depth": 1}, 64, None, "list"),
]
WITH_MAP = [family for family in FAMILIES if family.map]


@pytest.fixture(scope="module")
def model():
    """A random model of a family, made once for the tests of this file."""
    made = {}

    def get(family):
        if family.model not in made:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made[family.model] = timm.create_model(family.model, num_classes=0, **family.args)
        return made[family.model].eval()

    return get


def picture(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def named(families):
    return pytest.mark.parametrize("family", families, ids=lambda family: family.model)


@named(FAMILIES)
def test_the_embedding_is_what_the_model_answers_and_the_map_has_its_shape(model, family):
    images = picture(family.size)
    with torch.inference_mode():
        found = features_of(model(family), images)
        assert torch.equal(found.pooled, model(family)(images))
    assert (None if found.maps is None else found.maps.shape[1:]) == family.map
    assert found.maps is None or len(found.maps) == 2


@named(WITH_MAP)
def test_a_map_holds_the_patches_row_by_row_and_no_other_token(model, family):
    images = picture(family.size)
    with torch.inference_mode():
        layers = model(family).forward_features(images)
        maps = features_of(model(family), images).maps
    rows, columns, channels = family.map
    extra = family.layout if isinstance(family.layout, int) else 0
    assert layers.numel() == 2 * (rows * columns + extra) * channels
    for row in range(rows):
        for column in range(columns):
            cell = {
                "NCHW": lambda at=(row, column): layers[:, :, at[0], at[1]],
                "NHWC": lambda at=(row, column): layers[:, at[0], at[1]],
            }.get(family.layout, lambda at=row * columns + column: layers[:, extra + at])()
            assert torch.equal(maps[:, row, column], cell)


@named([family for family in WITH_MAP if family.map[0] == 4])  # the others see too far
def test_a_change_in_one_corner_shows_there_in_the_map(model, family):
    """The upper right and the lower left: rows and columns are not mixed up."""
    rows, columns, _ = family.map
    images = picture(family.size, count=1)
    side = family.size // rows
    for row, column in ((0, columns - 1), (rows - 1, 0)):
        changed = images.clone()
        changed[:, :, row * side :, column * side :][:, :, :side, :side] *= -3
        with torch.inference_mode():
            before, after = (features_of(model(family), each).maps for each in (images, changed))
        moved = (after - before).norm(dim=3)[0]
        assert divmod(int(moved.argmax()), columns) == (row, column)


def test_a_grid_that_is_not_square_is_the_patch_embeddings(model):
    shape = {"img_size": (32, 16), "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}
    made = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape).eval()
    with torch.inference_mode():
        found = features_of(made, torch.zeros(1, 3, 32, 16))
    assert found.maps.shape == (1, 4, 2, 24)


# --- the type --------------------------------------------------------------------------------


def test_features_are_cut_along_the_images():
    maps = torch.arange(7 * 12.0).reshape(7, 2, 2, 3)
    parts = Features(maps[:, 0, 0], maps).tensor_split(3)
    assert [len(part.pooled) for part in parts] == [3, 2, 2]
    assert torch.equal(torch.cat([part.maps for part in parts]), maps)
    assert all(torch.equal(part.maps[:, 0, 0], part.pooled) for part in parts)
    assert [part.maps for part in Features(maps[:, 0, 0], None).tensor_split(2)] == [None, None]


def test_features_move_and_are_made_float32():
    found = Features(torch.zeros(2, 3).half(), torch.zeros(2, 1, 1, 3).bfloat16()).float()
    assert found.pooled.dtype == found.maps.dtype == torch.float32
    away = found.to(torch.device("meta"))
    assert away.pooled.device.type == away.maps.device.type == "meta"
    assert Features(found.pooled, None).float().to(torch.device("meta")).maps is None


# --- another grid ----------------------------------------------------------------------------

sides = st.integers(2, 9)
# No grids of one column and many rows: torch 2.15 on a CPU repeats one row down those, and square
# images give no such grid.
grids = st.one_of(st.just((1, 1)), st.tuples(sides, sides))


def maps_of(seed, rows, columns, channels=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, rows, columns, channels, generator=generator, dtype=torch.float64)


def test_the_same_grid_is_untouched():
    maps = maps_of(0, 3, 5)
    assert resample(maps, (3, 5)) is maps
    assert resample(maps, (5, 3)).shape == (2, 5, 3, 2)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), old=grids, new=grids)
def test_a_map_on_any_grid_keeps_its_range_and_its_directions(seed, old, new):
    maps = maps_of(seed, *old)
    found = resample(maps, new)
    as_of_a_cnn = maps.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.allclose(resample(as_of_a_cnn, new), found, atol=1e-9)
    assert found.shape == (2, *new, 2)
    low, high = maps.amin(dim=(1, 2)), maps.amax(dim=(1, 2))
    assert (found.amin(dim=(1, 2)) >= low - 1e-9).all()
    assert (found.amax(dim=(1, 2)) <= high + 1e-9).all()
    turned = resample(maps.transpose(1, 2), (new[1], new[0])).transpose(1, 2)
    assert torch.allclose(turned, found, atol=1e-9)
    for axis in (1, 2):  # no side is nearer to the old grid than the other
        assert torch.allclose(resample(maps.flip(axis), new), found.flip(axis), atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(old=grids, new=grids, value=st.floats(-10, 10))
def test_a_constant_map_stays_constant(old, new, value):
    maps = torch.full((1, *old, 2), value, dtype=torch.float64)
    assert torch.allclose(resample(maps, new), maps.new_tensor(value), atol=1e-9)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_coarser_map_is_about_the_mean_of_what_its_cells_cover(factor):
    """Exactly so where the map is linear; every old cell has a part in the new map."""
    side = 5 * factor
    row, column = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    ramp = (3 * row - column)[None, :, :, None]

    def area_mean(maps):
        return maps.unflatten(1, (5, factor)).unflatten(3, (5, factor)).mean(dim=(2, 4))

    inner = (slice(None), slice(1, -1), slice(1, -1))
    assert torch.allclose(resample(ramp, (5, 5))[inner], area_mean(ramp)[inner], atol=1e-9)
    noise = maps_of(0, side, side)
    found = torch.stack([resample(noise, (5, 5)).flatten(), area_mean(noise).flatten()])
    assert torch.corrcoef(found)[0, 1] > 0.8
    noise.requires_grad_()
    resample(noise, (5, 5)).sum().backward()
    assert (noise.grad > 0).all()
