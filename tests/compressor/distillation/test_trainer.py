"""The training loop on real, small networks: what it learns, and that it can be killed."""

import math
import signal
from dataclasses import replace

import pytest
import torch

from compressor.data.loading import load_batches
from compressor.distillation.teacher_features import CachedFeatures
from compressor.distillation.trainer import distill
from compressor.distillation.training import Training
from compressor.models.compute import Compute
from compressor.models.embed import embed
from compressor.models.encoder import create_student
from compressor.models.features import Features
from runtime import metrics
from runtime.errors import InputError, MissingDependencyError
from runtime.files import sha256_of
from short_training import CNN, CPU, SPEC, VIT, log_of, same, train


def test_the_student_comes_nearer_to_the_teacher(data, tmp_path):
    spec = SPEC.model_copy(update={"epochs": 12})
    train(data, tmp_path, student=VIT, spec=spec)
    log = log_of(tmp_path)
    assert [entry["epoch"] for entry in log] == list(range(1, 13))
    assert log[-1]["student_loss"] < 0.5 * log[0]["student_loss"]
    assert log[-1]["head_loss"] < 0.5 * log[0]["head_loss"]
    assert {"similarity", "knn_accuracy", "lr"} <= log[-1].keys()


@pytest.mark.parametrize("student", [CNN, VIT], ids=["cnn", "vit"])
def test_the_same_seed_gives_the_same_bits(data, tmp_path, student):
    first = train(data, tmp_path / "a", student=student)
    again = train(data, tmp_path / "b", student=student)
    assert same(first, again)
    other = train(data, tmp_path / "c", student=student, spec=SPEC.model_copy(update={"seed": 1}))
    assert not same(first, other)


def test_reader_processes_do_not_change_the_bits(data, tmp_path):
    alone = train(data, tmp_path / "a")
    fed = train(data, tmp_path / "b", compute=Compute(torch.device("cpu"), workers=2))
    assert same(alone, fed)


class KilledError(Exception):
    """Stands for SIGKILL."""


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, even where the tests run in the background of a shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("student", [CNN, VIT], ids=["cnn", "vit"])
@pytest.mark.parametrize("after_steps", [1, 3, 7], ids=["first step", "end of epoch", "later"])
def test_a_killed_training_continues_to_the_same_bits(data, tmp_path, student, after_steps):
    undisturbed = train(data, tmp_path / "a", student=student)

    def killer(items, *, label, total):
        for number, item in enumerate(items):
            if number == after_steps:
                raise KilledError
            yield item

    work = tmp_path / "b"
    work.mkdir()
    spec = SPEC.model_copy(update={"checkpoint_s": 0})
    encoder = create_student(student, seed=0)
    with pytest.raises(KilledError):
        distill(encoder, data, spec, CPU, work, track=killer)
    assert (work / "checkpoint.pt").exists()
    notes = []
    encoder = create_student(student, seed=0)
    continued = distill(encoder, data, spec, CPU, work, note=notes.append)
    assert any(note.startswith("continuing after step") for note in notes)
    assert same(undisturbed, continued)


@pytest.mark.parametrize("after_steps", [0, 4])
def test_ctrl_c_lets_the_step_end_and_keeps_it(data, tmp_path, after_steps, interruptible):
    undisturbed = train(data, tmp_path / "a")

    def pressing(items, *, label, total):
        for number, item in enumerate(items):
            if number == after_steps:
                signal.raise_signal(signal.SIGINT)
            yield item

    work, notes = tmp_path / "b", []
    work.mkdir()
    encoder, before = create_student(CNN, seed=0), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # SPEC itself writes no checkpoint
        distill(encoder, data, SPEC, CPU, work, track=pressing, note=notes.append)
    assert signal.getsignal(signal.SIGINT) == before
    assert f"stopped after step {after_steps + 1} of" in notes[-1]
    continued = distill(create_student(CNN, seed=0), data, SPEC, CPU, work, note=notes.append)
    assert notes[-1].startswith(f"continuing after step {after_steps + 1}")
    assert same(undisturbed, continued)


def test_a_second_ctrl_c_interrupts_at_once(data, tmp_path, interruptible):
    def pressing(items, *, label, total):
        for item in items:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            yield item

    with pytest.raises(KeyboardInterrupt):
        distill(create_student(CNN, seed=0), data, SPEC, CPU, tmp_path, track=pressing)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_the_last_epoch_is_kept_where_none_is_clearly_better(data, tmp_path):
    """On ten images hardly any difference is clear."""
    state = train(data, tmp_path, spec=SPEC.model_copy(update={"epochs": 6, "lr": 0.05}))
    *_, last = log = log_of(tmp_path)
    assert last["similarity"] < max(entry["similarity"] for entry in log)
    assert last["epoch"] == max(entry["epoch"] for entry in log if entry["best_so_far"])
    student = create_student(CNN, seed=0)
    student.module.load_state_dict(state)
    mean = data.teacher.sample().pooled.mean(dim=0).numpy()
    got = metrics.pair_correlation(
        embed(student, data.validation.paths, CPU, label=""), data.validation_features - mean
    )
    assert got == pytest.approx(last["similarity"], abs=1e-3)


def test_accumulation_changes_the_memory_not_the_gradient(data, tmp_path):
    """A student without batch norm takes the same step in parts as at once."""
    still = VIT.model_copy(update={"args": {**VIT.args, "drop_path_rate": 0.0}})
    states = []
    for parts in (1, 2, 4):
        spec = SPEC.model_copy(update={"accumulate": parts, "epochs": 1})
        training = Training(create_student(still, seed=0), data, spec, CPU, print)
        jobs = next(training.schedule.batches())
        (batch,) = load_batches(data.views(training.encoder), [jobs], 0)
        training.step(jobs, batch)
        states.append(training.student.state_dict())
    for other in states[1:]:
        for key in other:
            # One Adam step moves a weight by about lr whatever its gradient, so tiny differences
            # of tiny gradients show: nearly all weights must agree.
            close = torch.isclose(other[key], states[0][key], atol=1e-5)
            assert close.float().mean() > 0.99


@pytest.mark.parametrize("asked", [2, 5])
def test_few_images_are_not_cut_into_parts_of_under_three(data, tmp_path, asked):
    """Batch norm has no statistics of one image, or of none."""
    few = replace(data.train, records=data.train.records[:5])
    small = replace(data, train=few, teacher=replace(data.teacher, images=5))
    spec = SPEC.model_copy(update={"epochs": 1, "accumulate": asked})
    whole = train(small, tmp_path / "whole", spec=spec.model_copy(update={"accumulate": 1}))
    assert same(train(small, tmp_path / "parts", spec=spec), whole)


def test_the_teacher_features_are_left_alone(data, tmp_path):
    before = sha256_of(data.teacher.folder)
    train(data, tmp_path)
    assert sha256_of(data.teacher.folder) == before


def test_a_small_set_lowers_the_batch_and_says_so(data, tmp_path):
    notes = []
    spec = SPEC.model_copy(update={"batch": 64, "epochs": 1})
    distill(create_student(CNN, seed=0), data, spec, CPU, tmp_path, note=notes.append)
    assert notes[0] == "batch 30, not 64: there are no more training images"


def test_a_loss_that_is_not_finite_stops_with_step_and_advice(data, tmp_path):
    spec = SPEC.model_copy(update={"epochs": 4, "checkpoint_s": 0})

    class Poisoned(CachedFeatures):
        """Breaks after the first epoch."""

        asked = 0

        def features(self, jobs, pixels):
            Poisoned.asked += 1
            found = super().features(jobs, pixels)
            return found if Poisoned.asked <= 4 else Features(found.pooled * math.nan, found.maps)

    good = data.teacher
    poisoned = Poisoned(good.folder, good.views, good.images)
    with pytest.raises(
        InputError, match=r"no longer finite at step 5 of 12(.|\n)*Lower distill.lr"
    ):
        train(replace(data, teacher=poisoned), tmp_path, spec=spec)
    # The last good checkpoint is there, and continues once the cause is gone.
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["done"] == 4
    assert all(torch.isfinite(each).all() for each in saved["student"].values())
    assert len(log_of(tmp_path)) == 1
    train(data, tmp_path, spec=spec)
    assert len(log_of(tmp_path)) == 4


def test_bf16_trains_on_a_cpu_and_leaves_float32_weights(data, tmp_path):
    bf16 = SPEC.model_copy(update={"precision": "bf16", "epochs": 1})
    state = train(data, tmp_path, spec=bf16)
    assert all(torch.isfinite(value).all() for value in state.values())
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("student", [CNN, VIT], ids=["cnn", "vit"])
def test_training_stops_early_and_a_killed_one_stops_at_the_same_epoch(data, tmp_path, student):
    # A learning rate this high learns nothing: after some epochs none is better.
    spec = SPEC.model_copy(update={"epochs": 40, "lr": 1.0, "stop_after": 2, "warmup_epochs": 0})
    notes = []
    encoder = create_student(student, seed=0)
    (tmp_path / "a").mkdir()
    whole = distill(encoder, data, spec, CPU, tmp_path / "a", note=notes.append)
    log = log_of(tmp_path / "a")
    best = max(entry["epoch"] for entry in log if entry["best_so_far"])
    assert len(log) == best + 2 < 40
    assert notes[-1] == (
        f"stopped early: no better student in the last 2 epochs; epoch {best} is kept"
    )

    def killer(items, *, label, total):
        for number, item in enumerate(items):
            if number == 3 * len(log) - 1:  # in the last epoch before the stop
                raise KilledError
            yield item

    (tmp_path / "b").mkdir()
    often = spec.model_copy(update={"checkpoint_s": 0})
    with pytest.raises(KilledError):
        encoder = create_student(student, seed=0)
        distill(encoder, data, often, CPU, tmp_path / "b", track=killer)
    continued = train(data, tmp_path / "b", student=student, spec=often)
    assert same(whole, continued)
    assert [each["epoch"] for each in log_of(tmp_path / "b")] == [each["epoch"] for each in log]


def test_without_validation_figures_nothing_stops_early(data, tmp_path):
    two = replace(data.validation, records=data.validation.records[:2])
    few = replace(data, validation=two, validation_features=data.validation_features[:2])
    spec = SPEC.model_copy(update={"stop_after": 1})
    train(few, tmp_path, spec=spec)
    assert len(log_of(tmp_path)) == 3


def test_a_step_that_does_not_fit_on_the_gpu_says_what_takes_less(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10**9, 16 * 10**9))

    def full(training, jobs, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Training, "step", full)
    with pytest.raises(MissingDependencyError) as told:
        train(data, tmp_path)
    assert "(15.0 of 16.0 GB in use, batch 8): distill.accumulate: 2, a smaller" in str(told.value)
    assert told.value.exit_code == 3
    monkeypatch.undo()
    assert train(data, tmp_path)  # the same process goes on
