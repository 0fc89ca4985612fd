"""A probe: logits of classes from an embedding, as a linear map or as a vote of labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.arrays import Floats
from runtime.metrics import NEVER, log_softmax, normalise

if TYPE_CHECKING:
    from torch import nn


VOTE_TEMPERATURE = 0.07
"""A labelled image votes with the weight exp(cosine / 0.07), as in `runtime.metrics.knn_votes`."""
LEAST_SHARE = 1e-6
"""Lower limit of a class's share of the votes: its logarithm stays finite, in float16 too."""


@dataclass(frozen=True)
class LinearProbe:
    """logits = unit-length embedding @ weight.T + bias."""

    weight: Floats
    """[K, D]"""
    bias: Floats
    """[K], NEVER for a class that no label covers."""

    def logits(self, embedding: npt.NDArray[np.floating]) -> Floats:
        """Return the logits of embeddings: [N, D] -> [N, K]."""
        logits: Floats = normalise(embedding) @ self.weight.T + self.bias
        return logits

    def scaled(self, scale: float) -> LinearProbe:
        """Return the probe with logits multiplied by `scale`."""
        bias = np.where(self.bias <= NEVER, NEVER, self.bias * scale)
        return LinearProbe((self.weight * scale).astype(np.float32), bias.astype(np.float32))

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays that `probe_from` reads."""
        return {"weight": self.weight, "bias": self.bias}

    def module(self) -> nn.Module:
        """Return the probe as a torch module, for the deployed file."""
        from export.onnx_file import linear

        return linear(self.weight, self.bias)


@dataclass(frozen=True)
class VotingProbe:
    """Every labelled image votes for its class, the nearest by cosine the most.

    logits = scale * log(share of the vote) + bias. With few labels this is the weighted kNN: the
    far ones' votes come to nothing, so no number of neighbours is needed. It is the soft nearest
    neighbour classifier of PAWS (arXiv 2104.13963).
    """

    bank: Floats
    """[M, D], labelled embeddings of unit length."""
    votes: Floats
    """[M, K], 1 in the column of an image's class."""
    bias: Floats
    """[K], 0, or NEVER for a class that no label covers."""
    scale: float = 1.0

    def logits(self, embedding: npt.NDArray[np.floating]) -> Floats:
        """Return the logits of embeddings: [N, D] -> [N, K]."""
        shares = np.exp(log_softmax(normalise(embedding) @ self.bank.T / VOTE_TEMPERATURE))
        logits: Floats = (
            self.scale * np.log(np.maximum(shares @ self.votes, LEAST_SHARE)) + self.bias
        ).astype(np.float32)
        return logits

    def scaled(self, scale: float) -> VotingProbe:
        """Return the probe with logits multiplied by `scale`."""
        return replace(self, scale=self.scale * scale)

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays that `probe_from` reads."""
        scale = np.array([self.scale], np.float32)
        return {"bank": self.bank, "votes": self.votes, "bias": self.bias, "scale": scale}

    def module(self) -> nn.Module:
        """Return the probe as a torch module, for the deployed file."""
        from export.onnx_file import Voting

        return Voting(self.arrays(), temperature=VOTE_TEMPERATURE, least=LEAST_SHARE)


Probe = LinearProbe | VotingProbe


def probe_from(arrays: Mapping[str, Floats]) -> Probe:
    """Return the probe stored in these arrays."""
    if "weight" in arrays:
        return LinearProbe(arrays["weight"], arrays["bias"])
    scale = float(arrays["scale"][0])
    return VotingProbe(arrays["bank"], arrays["votes"], arrays["bias"], scale)


def never_unless(present: npt.NDArray[np.integer], classes: int) -> Floats:
    """Return [K]: 0 for the classes that are present, NEVER for the others."""
    bias = np.full(classes, NEVER, np.float32)
    bias[present] = 0
    return bias
