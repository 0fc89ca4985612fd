"""Random choices: the references that other strategies are compared with."""

from __future__ import annotations

import numpy as np

from compressor.selection.metric_space import random_state
from compressor.selection.strategies.strategy import Problem
from runtime.arrays import Ints
from runtime.errors import InputError


class Random:
    """Images drawn at random."""

    def choose(self, problem: Problem) -> Ints:
        """Return the first free rows of a seeded permutation."""
        order = np.random.RandomState(random_state(problem.seed)).permutation(len(problem.space))
        return order[~np.isin(order, problem.fixed)][: problem.budget].astype(np.int64)


class StratifiedRandom:
    """As many images of each class as possible, drawn at random; reads the labels."""

    def choose(self, problem: Problem) -> Ints:
        """Return rows class by class, one of each class in a round.

        Raises:
            InputError: there are no labels.
        """
        if problem.labels is None:
            raise InputError(
                "stratified-random needs the label of every image, to compare other strategies "
                "with.\n  Choose another `label.strategy`."
            )
        rng = np.random.RandomState(random_state(problem.seed))
        found: list[tuple[int, int, int]] = []
        classes = np.unique(problem.labels)
        for label in classes:
            members = rng.permutation(np.flatnonzero(problem.labels == label))
            free = members[~np.isin(members, problem.fixed)]
            first = len(members) - len(free)
            found += [(first + place, int(label), int(row)) for place, row in enumerate(free)]
        # The budget is seldom a multiple of the classes: their order within a round is drawn.
        turn = dict(zip(classes.tolist(), rng.permutation(len(classes)).tolist(), strict=True))
        found.sort(key=lambda entry: (entry[0], turn[entry[1]]))
        return np.array([row for _, _, row in found[: problem.budget]], np.int64)


RANDOM = Random()
STRATIFIED_RANDOM = StratifiedRandom()
