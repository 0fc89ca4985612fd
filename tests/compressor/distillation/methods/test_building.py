"""What a recipe's `distill:` builds: the right losses and heads."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compressor.distillation.methods import tintem_head
from compressor.distillation.methods.cosine import Cosine
from compressor.distillation.methods.method import Setup, method_class
from compressor.distillation.methods.proteus import Proteus
from compressor.distillation.methods.supervised import Supervised
from compressor.distillation.methods.tintem import TinTeM
from compressor.distillation.methods.tintem_head import TeacherHead, pca_basis, pca_sample
from compressor.models.features import Features
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Distill
from runtime.errors import InputError


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(tintem_head, "FIT_STEPS", 3)


def student(dim, map_shape=None, *, is_cnn=None):
    """As much of an Encoder as gives the widths; a CNN where its map is not as wide as `dim`."""
    if is_cnn is None:
        is_cnn = map_shape is not None and map_shape[2] != dim
    embedding = nn.Linear(3, dim) if is_cnn else nn.Identity()
    module = SimpleNamespace(embedding=embedding)
    return SimpleNamespace(dim=dim, map_shape=map_shape, module=module)


def sample(dim=8, count=20, *, maps=True, grid=(2, 3)):
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(count, dim, generator=generator)
    return Features(pooled, torch.randn(6, *grid, dim, generator=generator) if maps else None)


def built(student, sample, **spec):
    notes = []
    distill = Distill(**spec)
    setup = Setup(distill, student, sample, classes=3, note=notes.append)
    return method_class(distill.method).build(setup), notes


# --- methods ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kind"), [("tintem", TinTeM), ("proteus", Proteus), ("cosine", Cosine)]
)
@pytest.mark.parametrize("maps", [False, True])
def test_each_method_gives_a_loss_for_each_image(method, kind, maps):
    made, _ = built(student(4, (2, 3, 5)), sample(maps=maps), method=method)
    assert type(made) is kind
    _, target = made.target(sample(count=6, maps=maps), torch.full((6,), -1))
    answer = Features(torch.randn(6, 4), torch.randn(6, 2, 3, 5) if maps else None)
    distance = made.distance(answer, target)
    assert distance.shape == (6,)
    assert torch.isfinite(distance).all()


@pytest.mark.parametrize("method", ["proteus", "cosine"])
@pytest.mark.parametrize(
    ("map_shape", "maps", "has"),
    [((2, 3, 5), True, True), ((2, 3, 5), False, False), (None, True, False)],
)
def test_a_map_head_is_made_where_both_have_maps(method, map_shape, maps, has):
    made, _ = built(student(4, map_shape), sample(maps=maps), method=method)
    assert (made.map_head is not None) == has


def test_supervised_asks_for_no_teacher():
    made, _ = built(student(4), None, method="supervised")
    assert type(made) is Supervised
    assert (made.head.in_features, made.head.out_features) == (4, 3)
    assert type(built(student(4), sample(), method="supervised")[0]) is Supervised


@pytest.mark.parametrize("method", METHODS)
def test_labels_choose_the_best_epoch_only_where_there_is_no_teacher(method):
    expected = "similarity" if METHODS[method].needs_teacher else "knn_accuracy"
    assert method_class(method).quality == expected


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].needs_teacher])
def test_a_method_that_needs_a_teacher_says_so(method):
    with pytest.raises(ValueError, match=f"{method} learns from the teacher's features"):
        built(student(4), None, method=method)


# --- TinTeM's head ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "head_fit", "dim", "kind", "learns", "fitted"),
    [
        ("learned", "joint", 4, TeacherHead, True, False),
        ("learned", "first", 4, TeacherHead, False, True),
        ("learned", "first", 12, TeacherHead, False, True),  # wider than the teacher
        ("pca", "joint", 4, nn.Linear, False, False),
        ("pca", "first", 4, nn.Linear, False, False),
        ("pca-then-learned", "joint", 4, nn.Linear, True, False),
        ("pca-then-learned", "first", 4, nn.Linear, False, True),
        ("identity-when-it-fits", "joint", 8, nn.Identity, False, False),
        ("identity-when-it-fits", "first", 8, nn.Identity, False, False),
        ("identity-when-it-fits", "joint", 4, nn.Linear, False, False),
        ("identity-when-it-fits", "first", 4, nn.Linear, False, False),
    ],
)
@pytest.mark.parametrize("maps", [False, True])
def test_the_head_is_the_recipes(head, head_fit, dim, kind, learns, fitted, maps):
    teacher = sample(maps=maps)
    made, notes = built(student(dim), teacher, head=head, head_fit=head_fit)
    assert type(made.head) is kind
    assert made.learns == learns
    assert all(each.requires_grad == learns for each in made.head.parameters())
    own, target = made.target(Features(teacher.pooled[:6], teacher.maps), torch.full((6,), -1))
    assert (own is not None) == learns
    assert target.pooled.shape == (6, dim)
    fit = "the head was fitted first, in 3 steps; the student's target is fixed"
    assert notes == [fit] * fitted


def test_a_pca_is_of_the_sample_and_fitting_moves_it():
    teacher = sample(maps=False)
    fixed, _ = built(student(4), teacher, head="pca")
    assert torch.equal(fixed.head.weight, pca_basis(teacher.pooled, 4))
    fitted, _ = built(student(4), teacher, head="pca-then-learned", head_fit="first")
    assert not torch.equal(fitted.head.weight, fixed.head.weight)
    assert torch.allclose(fitted.head.weight, fixed.head.weight, atol=0.1)


def test_a_fitted_head_follows_from_the_seed():
    teacher = sample(count=300, maps=False)
    weights = [
        built(student(4), teacher, head="pca-then-learned", seed=seed)[0].head.weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_head_is_fitted_on_the_maps_as_well():
    teacher = sample()
    torch.manual_seed(0)
    both, _ = built(student(4), teacher, head="learned")
    torch.manual_seed(0)
    alone, _ = built(student(4), Features(teacher.pooled, None), head="learned")
    assert not torch.equal(both.head.projection.weight, alone.head.projection.weight)


def test_a_pca_serves_the_maps_as_well_as_the_embeddings():
    """Embeddings in the first two directions, cells of the map in the next two."""
    pooled, cells = torch.zeros(20, 8), torch.zeros(20, 2, 2, 8)
    pooled[:, :2], cells[..., 2:4] = torch.randn(20, 2), torch.randn(20, 2, 2, 2)
    made, _ = built(student(4), Features(pooled, cells), head="pca")
    assert made.head.weight[:, :4].square().sum().item() == pytest.approx(4, abs=1e-4)


@pytest.mark.parametrize("grid", [(4, 4), (4, 8), (3, 5)])
@pytest.mark.parametrize("count", [64, 32, 16])
def test_a_pca_sees_every_part_of_the_map(grid, count):
    """Each cell has a direction of its own; a plain stride would see one column, or one cell."""
    cells = grid[0] * grid[1]
    maps = torch.eye(cells).reshape(1, *grid, cells).repeat(64, 1, 1, 1)
    used = pca_sample(Features(torch.zeros(count, cells), maps))
    assert len(used) == 2 * count
    seen = used[count:].sum(dim=0)
    assert seen.sum() == count
    assert (seen > 0).sum() >= min(count, cells) / 2
    assert seen.max() <= 2 * max(1, count / cells) + 1


def test_the_map_of_a_cnn_gets_a_layer_of_its_own():
    assert type(built(student(4, (2, 3, 4)), sample())[0].map_layer) is nn.Identity
    assert type(built(student(4, (2, 3, 5)), sample(maps=False))[0].map_layer) is nn.Identity
    for width in (4, 5):  # equal widths or not: its map lies before the embedding's layer
        layer = built(student(4, (2, 3, width), is_cnn=True), sample())[0].map_layer
        assert (layer.in_features, layer.out_features) == (width, 4)
    regression = built(student(4, (2, 3, 8), is_cnn=True), sample(), method="cosine")[0]
    assert type(regression.map_head) is nn.Linear


# --- widths that do not go together ----------------------------------------------------------


@pytest.mark.parametrize("head", ["pca", "pca-then-learned"])
def test_a_pca_wider_than_the_teacher_is_refused(head):
    wrong = rf"distill.head is {head}, and a PCA of 8 teacher features has no 9 directions"
    with pytest.raises(InputError, match=wrong):
        method_class("tintem").check(Distill(head=head), teacher_dim=8, student_dim=9)
    with pytest.raises(InputError, match=wrong):
        built(student(9), sample(), head=head)
    method_class("tintem").check(Distill(head=head), teacher_dim=8, student_dim=8)


def test_without_being_asked_a_student_wider_than_the_teacher_gets_a_learned_head():
    made, notes = built(student(9), sample(), head="identity-when-it-fits")
    assert type(made.head) is TeacherHead
    assert not made.learns
    assert "the head was fitted first" in notes[0]


@pytest.mark.parametrize(
    "spec", [{"head": "learned"}, *({"method": name} for name in list(METHODS)[1:])]
)
def test_what_needs_no_pca_may_be_wider(spec):
    distill = Distill(**{"head": "pca", **spec})
    method_class(distill.method).check(distill, teacher_dim=8, student_dim=9)
