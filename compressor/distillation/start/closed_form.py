"""The closed-form start of a student with pretrained weights.

One linear layer from the student's pooled features to the teacher's centred features, of length 1,
by ridge regression over several views of each image and some synthetic ones. It takes one pass of
the student and no step of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.data.augmentation import PLAIN
from compressor.data.loading import ViewId, in_batches, load_batches, to_input
from compressor.distillation.least_squares.layer import set_layer
from compressor.distillation.least_squares.normal_equations import NormalEquations
from compressor.distillation.least_squares.ridge import Ridge, solve
from compressor.distillation.methods.method import Sample
from compressor.distillation.start.mean import restore_mean
from compressor.distillation.start.synthetic import SyntheticAnswers
from compressor.distillation.teacher_features import TeacherRunner
from compressor.distillation.training import Start, Training
from compressor.distillation.training_data import TrainingData
from compressor.models.batch_norm import recalibrate_on
from compressor.models.compute import Compute
from compressor.models.embedding_net import EmbeddingNet
from compressor.models.encoder import CNN_EMBEDDING, Encoder
from compressor.models.features import Features, joined, widths_of
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from runtime.progress import Track, silent
from runtime.sampling import evenly

SAMPLE_IMAGES = 1_000
"""Most images that a method's own layers are solved from."""


def solve_start(
    student: Encoder,
    data: TrainingData,
    spec: Distill,
    compute: Compute,
    *,
    teacher: TeacherRunner | None = None,
    track: Track = silent,
    note: Callable[[str], None],
) -> tuple[Start, dict[str, object]]:
    """Solve the embedding layer of a student with pretrained weights.

    Args:
        student: its module is changed in place.
        data: images and teacher features.
        spec: the recipe's `distill:`.
        compute: where the networks run.
        teacher: asked about synthetic images; None leaves them out.
        track: shows the progress.
        note: called with lines for the user.

    Returns:
        The student and the method's heads, and what the report says of it.

    Raises:
        InputError: more outputs than images were asked for, or the features of the student are
            not finite or the same for all images.
    """
    layer = layer_of(student.module)
    if layer.out_features > len(data.train) and layer.out_features != CNN_EMBEDDING:
        raise InputError(
            f"student.embedding: {layer.out_features} numbers cannot be solved from "
            f"{len(data.train)} training images; add images, or make it smaller"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        folded = recalibrate_on(student, data.train.paths, compute, track)
        if folded:
            note(f"{folded} batch norms were folded into convolutions: statistics measured again")
        training = Training(student, data, spec, compute, note)
        training.student.eval()
        synthetic, count = None, spec.synthetic_for(len(data.train))
        if teacher is not None and data.teacher is not None and count:
            preprocess = student.preprocess
            synthetic = SyntheticAnswers.of(teacher, preprocess, count, spec.seed, track)
        equations = normal_equations(training, synthetic, track)
        found: dict[str, object] = {
            "images": len(data.train),
            "views": len(_views(training)),
            **({"synthetic_images": len(synthetic.pooled)} if synthetic else {}),
            "inputs": layer.in_features,
        }
        if data.teacher is None:
            _keep_own_angles(layer, equations)
        else:
            ridge = solve_from(equations, training)
            found |= {"strength": ridge.strength, "unexplained": ridge.error}
        training.method.begin(lambda: _sample(training))
        if compute.group.is_first:  # the start of which is kept
            restore_mean(training, training.validation())
    state = training.method.state_dict()
    heads = {key: value.detach().cpu().clone() for key, value in state.items()}
    if folded:
        found["batch_norms_recalibrated"] = folded
    return Start(training.student_state(), heads, synthetic), found


def normal_equations(
    training: Training, synthetic: SyntheticAnswers | None, track: Track
) -> NormalEquations:
    """Sum over one pass of the student as it is now, over views and synthetic images.

    Several processes take a part of the batches each; the sums are the same in all of them.

    Raises:
        InputError: its features are not finite.
    """
    layer = layer_of(training.student)
    equations = NormalEquations(layer.in_features, layer.out_features, training.compute.device)
    for jobs, pooled, teacher in _passes(training, _views(training), track):
        rows = torch.tensor([row for row, _ in jobs])
        equations.add(pooled, _target(layer, training, teacher), rows)
    if synthetic is not None:
        for pooled, teacher in _synthetic_passes(training, synthetic):
            equations.add_beside(pooled, _target(layer, training, teacher))
    equations.sum_over(training.compute.group)
    return equations


def layer_of(student: EmbeddingNet) -> nn.Linear:
    """Return the layer that is solved.

    Raises:
        TypeError: the student has none.
    """
    if not isinstance(student.embedding, nn.Linear):
        raise TypeError("only a student with an embedding layer can be solved")
    return student.embedding


def solve_from(equations: NormalEquations, training: Training) -> Ridge:
    """Set the embedding layer of the student to the ridge regression of the sums.

    Args:
        equations: of that student.
        training: its student is changed in place.

    Raises:
        InputError: its features are the same for all images.
    """
    student = training.encoder
    backbone, size = student.module.backbone, student.preprocess.size_px
    blocks = widths_of(backbone.cpu(), size, student.module.stages)
    backbone.to(training.compute.device)
    ridge = solve(equations.folds, blocks, equations.beside)
    set_layer(layer_of(training.student), ridge.weight, ridge.bias)
    return ridge


def _views(training: Training) -> Sequence[int]:
    return training.spec.start_views(len(training.data.train))


def _target(layer: nn.Linear, training: Training, teacher: Features) -> Tensor:
    """Return what the layer is to answer, [B, D], from the teacher's centred features."""
    target = training.method.embedding_target(teacher)
    if target is None:
        target = torch.zeros(
            len(teacher.pooled), layer.out_features, device=training.compute.device
        )
    target = F.normalize(target, dim=1)
    return F.pad(target, (0, layer.out_features - target.shape[1]))


def _passes(
    training: Training, views: Sequence[int], track: Track
) -> Iterator[tuple[Sequence[ViewId], Tensor, Features]]:
    """Yield this process's batches of views.

    The student's pooled features [B, C], and the teacher's, centred.
    """
    jobs = [(row, view) for view in views for row in range(len(training.data.train))]
    for batch, teacher, images in _batches(training, jobs, track):
        pooled = _pooled(training, images)
        _require_finite(pooled, training, batch)
        yield batch, pooled, teacher


def _synthetic_passes(
    training: Training, synthetic: SyntheticAnswers
) -> Iterator[tuple[Tensor, Features]]:
    """Yield this process's batches of synthetic images: as `_passes` does of views."""
    preprocess, compute = training.encoder.preprocess, training.compute
    images, group = synthetic.images(preprocess), compute.group
    numbers = group.dealt(in_batches(range(len(synthetic.pooled))))
    for own, pixels in zip(numbers, images.batches(numbers, compute.workers), strict=True):
        answers = synthetic.pooled[list(own)].to(compute.device)
        pooled = _pooled(training, to_input(pixels, preprocess, compute.device))
        if pooled.isfinite().all():
            yield pooled, training.centring.apply(Features(answers, None))


@torch.no_grad()
def _pooled(training: Training, images: Tensor) -> Tensor:
    return training.student.pooled(images).pooled.float()


@torch.no_grad()
def _sample(training: Training) -> Sample:
    """Return the features of student and teacher of some images as they are."""
    rows = evenly(len(training.data.train), SAMPLE_IMAGES)
    pairs = [
        (training.forward(images).float(), teacher)
        for _, teacher, images in _batches(training, [(int(row), PLAIN) for row in rows], silent)
    ]
    own, other = zip(*training.compute.group.collected(pairs), strict=True)
    labels = training.labels[torch.from_numpy(np.asarray(rows))].to(training.compute.device)
    return Sample(joined(own), joined(other), labels)


def _batches(
    training: Training, jobs: Sequence[ViewId], track: Track
) -> Iterator[tuple[Sequence[ViewId], Features, Tensor]]:
    """Yield this process's batches: the teacher's features, centred, and the student's input."""
    batches = training.compute.group.dealt(in_batches(jobs))
    dataset = training.data.views(training.encoder)
    loaded = load_batches(
        dataset, batches, training.compute.workers, pinned=training.compute.on_gpu
    )
    tracked = track(loaded, label="solving", total=len(batches))
    for batch, (*for_teacher, pixels) in zip(batches, tracked, strict=True):
        teacher = training.teacher_features(batch, for_teacher)
        yield batch, teacher, to_input(pixels, training.encoder.preprocess, training.compute.device)


def _require_finite(pooled: Tensor, training: Training, batch: Sequence[ViewId]) -> None:
    wrong = (~pooled.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if wrong:
        path = training.data.train.paths[batch[wrong[0]][0]]
        raise InputError(
            f"student: the features of {path} are not finite before any training.\n"
            "  Are student.weights damaged, or of another model?"
        )


def _keep_own_angles(layer: nn.Linear, equations: NormalEquations) -> None:
    """Make the layer the principal directions of the student's own features, about their mean."""
    total = equations.total()
    mean = total.x / total.count
    covariance = total.about(mean, torch.zeros_like(total.y)).xx
    _, vectors = torch.linalg.eigh(covariance)  # in rising order
    basis = vectors.T.flip(0)[: layer.out_features]
    weight = F.pad(basis, (0, 0, 0, layer.out_features - len(basis)))
    set_layer(layer, weight, -weight @ mean)
