"""A device under load, by a clock of the test's own."""

import numpy as np
import pytest

from runtime.benchmark.latency import Request
from runtime.benchmark.sustained import heat


class Warming:
    """Each run takes 1 % longer than the one before."""

    now, taken = 0.0, 0.01

    def run(self, images):
        self.now += self.taken
        self.taken *= 1.01

    def clock(self):
        return self.now


def test_it_runs_for_the_time_and_tells_how_much_slower_it_became():
    session = Warming()
    found = heat(Request(session, [np.zeros((1, 1))]), 2.0, clock=session.clock)
    assert 2.0 <= found.seconds < 2.1
    assert found.runs == 111  # 1.01 ** n - 1 = 2 for n = 110.4
    ms = 10 * 1.01 ** np.arange(111)
    assert found.first_median_ms == pytest.approx(np.median(ms[:11]))
    assert found.last_median_ms == pytest.approx(np.median(ms[-11:]))


def test_a_request_longer_than_the_time_runs_once():
    session = Warming()
    assert heat(Request(session, [np.zeros((1, 1))]), 1e-6, clock=session.clock).runs == 1
