"""What a server takes at most, and what it has done so far."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """What a server takes at most: images take `requests` times `body_mb`, with a monitor twice."""

    batch: int = 8
    """Images in one call of the network."""
    wait_ms: float = 2.0
    """How long the first image of a batch waits for others."""
    requests: int = 64
    """Requests at once; one more is refused with 503."""
    body_mb: float = 20.0
    """Size of a request, 10^6 bytes; a larger one is refused with 413."""
    body_s: float = 10.0
    """How long a client may take to send its image; a slower one is refused with 408."""

    @property
    def body_bytes(self) -> int:
        """`body_mb` in bytes."""
        return int(self.body_mb * 1e6)


@dataclass
class Counts:
    """Requests for predictions so far."""

    now: int = 0
    """That are being answered."""
    by_status: dict[int, int] = field(default_factory=dict)
    """HTTP status to how many were answered with it."""
    seconds: float = 0.0
    """That the answered ones took together."""

    def done(self, status: int) -> None:
        """Count a request by its HTTP status."""
        self.by_status[status] = self.by_status.get(status, 0) + 1
