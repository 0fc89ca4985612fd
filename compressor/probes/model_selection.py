"""Choose and calibrate the deployed probe, on labelled training images only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compressor.probes.cross_validation import Trial, cross_validate
from compressor.probes.kinds import DEFAULTS, KINDS, Candidate, Kind, candidates
from compressor.probes.probe import Probe
from compressor.probes.temperature import scale_of
from compressor.probes.training_set import TrainingSet
from runtime.arrays import Doubles
from runtime.metrics import Estimate, log_loss, mean_estimate
from runtime.results import making
from runtime.results.scores import as_score


@dataclass(frozen=True)
class Score:
    """The cross-validation scores of a candidate."""

    candidate: Candidate
    accuracy: Estimate
    losses: Doubles
    """[T], minus the log probability of each image's class, after calibration."""
    scale: float
    """One over the temperature that calibrates it."""

    @property
    def log_loss(self) -> float:
        """Mean over images."""
        return float(self.losses.mean())


@dataclass(frozen=True)
class Chosen:
    """The chosen probe and the reasons."""

    probe: Probe
    """Fitted on all labelled training images; its softmax is calibrated if `calibrated`."""
    candidate: Candidate
    why: str
    temperature: float
    """What the logits were divided by."""
    calibrated: bool
    scores: tuple[Score, ...]
    """Every candidate, or none where there are too few labels to choose."""

    def result(self) -> making.Probe:
        """Return the choice for the report, with the best strength of each kind."""
        best = [_best(self.scores, (kind,)) for kind in KINDS]
        return making.Probe(
            kind=self.candidate.kind,
            strength=self.candidate.strength,
            why=self.why,
            candidates=tuple(_row(score) for score in best if score is not None),
            temperature=self.temperature,
            calibrated=self.calibrated,
        )


def choose(training: TrainingSet, kinds: Sequence[Kind] = KINDS, *, seed: int = 0) -> Chosen:
    """Return the probe that is best on labelled images it was not fitted on.

    Args:
        training: what is known; held-out images are no part of it.
        kinds: those to choose from.
        seed: of the folds.

    Raises:
        ValueError: under two classes are labelled.
    """
    if len(training.present) < 2:
        raise ValueError(f"labels of two classes are needed; got {len(training.present)}")
    trial = cross_validate(training, candidates(training, kinds), seed=seed)
    return settle(training, _scores(trial) if trial is not None else (), kinds)


def settle(training: TrainingSet, scores: tuple[Score, ...], kinds: Sequence[Kind]) -> Chosen:
    """Fit the preferred of these kinds, or one that is clearly better than it.

    Args:
        training: labels of two classes at least.
        scores: of every candidate, or none.
        kinds: those to choose from.
    """
    kind = candidates(training, kinds)[0].kind  # preferred among those that these labels allow
    preferred = _best(scores, (kind,))
    if preferred is None:
        strength, temperature = DEFAULTS[kind]
        candidate = Candidate(kind, strength)
        probe = candidate.fit(training).scaled(1 / temperature)
        return Chosen(probe, candidate, _TOO_FEW, temperature, False, ())
    best = _best(scores, kinds) or preferred
    if best is not preferred and not _clearly_better(best, preferred):
        best = preferred
    probe = best.candidate.fit(training).scaled(best.scale)
    unseen = "on labelled training images that it was not fitted on"
    why = f"clearly better than {kind} {unseen}"
    if best is preferred:
        why = f"no other is clearly better {unseen}"
    return Chosen(probe, best.candidate, why, 1 / best.scale, True, scores)


_TOO_FEW = "too few labels to choose: the kind that does best with few labels elsewhere"
_STANDARD_ERRORS = 2.0


def _clearly_better(one: Score, other: Score) -> bool:
    """Return whether its log-loss is lower by two standard errors, over the same images.

    A few labels tell two probes apart badly: taking the best of them by its mean cost 2.8 % of
    accuracy against the best in hindsight, asking for two standard errors 1.9 % (docs/results.md).
    """
    gain = other.losses - one.losses
    error = gain.std(ddof=1) / len(gain) ** 0.5
    return bool(gain.mean() > _STANDARD_ERRORS * error)


def _scores(trial: Trial) -> tuple[Score, ...]:
    """Return accuracy with its interval over images, and log-loss after calibration."""
    found = []
    for candidate, logits in zip(trial.candidates, trial.logits, strict=True):
        right = (logits.argmax(axis=2) == trial.labels).mean(axis=0)  # [R, T] -> [T]
        # [R, T, K] -> [R * T, K]
        flat, labels = logits.reshape(-1, logits.shape[2]), np.tile(trial.labels, len(logits))
        scale = scale_of(flat, labels)
        losses = log_loss(flat * scale, labels).reshape(len(logits), -1).mean(axis=0)
        found.append(Score(candidate, mean_estimate(right), losses, scale))
    return tuple(found)


def _best(scores: Sequence[Score], kinds: Sequence[Kind]) -> Score | None:
    """Return the candidate of these kinds with the lowest log-loss."""
    of_kinds = [score for score in scores if score.candidate.kind in kinds]
    return min(of_kinds, key=lambda score: score.log_loss, default=None)


def _row(score: Score) -> making.ProbeCandidate:
    return making.ProbeCandidate(
        kind=score.candidate.kind,
        strength=score.candidate.strength,
        accuracy=as_score(score.accuracy),
        log_loss=score.log_loss,
    )
