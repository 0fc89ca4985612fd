"""The probes of a run: a linear one for every encoder, and the deployed one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from compressor.probes.model_selection import Chosen, choose, settle
from compressor.probes.probe import LinearProbe, Probe, probe_from
from compressor.probes.training_set import TrainingSet
from runtime.arrays import Floats, Ints
from runtime.metrics import normalise
from runtime.results import making

_NAMES = {
    "raw": "the student's raw features",
    "closed_form": "the student's closed form",
    "untrained": "the student before distillation",
}


def fit_all(
    embedded: Mapping[str, Floats],
    labels: Ints,
    classes: Sequence[str],
    note: Callable[[str], None],
) -> tuple[dict[str, Floats], making.Probe]:
    """Choose the student's probe, and fit its kind and a linear one to every encoder.

    Args:
        embedded: [N, D] embeddings of all training images by `teacher`, `student` and what the
            student was before: `untrained`, or `raw` and `closed_form`.
        labels: [N], -1 where not known.
        classes: names of all K classes.
        note: called with what is being done.

    Returns:
        The arrays that `linear_probe` and `deployed_probe` read, and what the report says.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    labelled = int(counts.sum())
    without = tuple(name for name, count in zip(classes, counts, strict=True) if not count)
    arrays = dict[str, Floats]()
    if (counts > 0).sum() < 2:
        none = making.Probe(
            kind=None,
            why="under two classes are labelled",
            labelled=labelled,
            classes_without_label=without,
        )
        return arrays, none

    def training_set(encoder: str) -> TrainingSet:
        unit = normalise(embedded[encoder])
        return TrainingSet(unit, embedded["teacher"], labels, len(classes))

    note("choosing the student's probe")
    chosen = choose(training_set("student"))
    note(f"deployed: {chosen.candidate.kind} ({chosen.why})")
    for name in embedded:
        training = training_set(name)
        note(f"fitting the linear probe of {_NAMES.get(name, f'the {name}')}")
        arrays |= _named(name, _linear(training, chosen if name == "student" else None))
        if chosen.candidate.kind != "linear":
            # Each of the same kind, with a strength and a temperature of its own.
            kind = chosen.candidate.kind
            own = chosen.probe if name == "student" else choose(training, (kind,)).probe
            arrays |= _named(f"{name}_deployed", own)
    return arrays, replace(chosen.result(), labelled=labelled, classes_without_label=without)


def _linear(training: TrainingSet, chosen: Chosen | None) -> Probe:
    """Return the linear probe, from existing scores if a probe was chosen."""
    if chosen is None:
        return choose(training, ("linear",)).probe
    if chosen.candidate.kind == "linear":
        return chosen.probe
    return settle(training, chosen.scores, ("linear",)).probe


def linear_probe(arrays: Mapping[str, Floats], encoder: str) -> LinearProbe | None:
    """Return the linear probe of an encoder, or None without labels of two classes."""
    if f"{encoder}_weight" not in arrays:
        return None
    return LinearProbe(arrays[f"{encoder}_weight"], arrays[f"{encoder}_bias"])


def other_than_linear(arrays: Mapping[str, Floats], encoder: str) -> Probe | None:
    """Return an encoder's probe of the deployed kind, or None if that is the linear kind."""
    prefix = f"{encoder}_deployed_"
    own = {name[len(prefix) :]: each for name, each in arrays.items() if name.startswith(prefix)}
    return probe_from(own) if own else None


def deployed_probe(arrays: Mapping[str, Floats], encoder: str) -> Probe | None:
    """Return an encoder's probe of the deployed kind, or None without labels of two classes."""
    return other_than_linear(arrays, encoder) or linear_probe(arrays, encoder)


def _named(prefix: str, probe: Probe) -> dict[str, Floats]:
    return {f"{prefix}_{name}": each for name, each in probe.arrays().items()}
