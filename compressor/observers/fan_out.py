"""Send every event of a run to several observers."""

from __future__ import annotations

from compressor.events import Event, Observer


def fan_out(*observers: Observer) -> Observer:
    """Return one observer that calls others in their order.

    What one of them raises ends the run: an observer never fails unseen.
    """

    def send(event: Event) -> None:
        for observer in observers:
            observer(event)

    return send
