"""The queue before a step. The device is told: it spins at 2 GHz, and the host does not wait for it."""

import pytest
import torch

from sailor_exp.config.schema import Device
from sailor_exp.instruments.filler import filler_for
from tests.build.fake_instruments import Alone, ToldClock


class SlowerPeer:
    def maximum(self, values):
        return [max(value, 0.003) for value in values]


@pytest.fixture
def spun(monkeypatch):
    """The spinning that was queued, in cycles, and the clock that it moves."""
    cycles, clock = [], ToldClock()

    def sleep(count):
        cycles.append(count)
        clock.now_s += count / 2e9

    monkeypatch.setattr(torch.cuda, "_sleep", sleep)
    return cycles, clock


def filled(spun, *microbatches, agreement=None):
    """Seconds that were queued, and cycles, after microbatches of (device, launch) seconds."""
    cycles, clock = spun
    filler = filler_for(Device.cuda, clock, agreement or Alone())
    for device_s, launch_s in microbatches:
        filler.ran(device_s=device_s, launch_s=launch_s)
    cycles.clear()
    return filler.fill(), cycles


@pytest.mark.parametrize(
    ("device_s", "launch_s", "ahead_s"),
    [(0.005, 0.004, 0.001), (0.007, 0.004, 0.003), (0.020, 0.004, 0.004)],
    ids=["hardly ahead", "ahead", "all is launched before it starts"],
)
def test_the_device_spins_for_what_a_former_microbatch_leaves_to_do(spun, device_s, launch_s, ahead_s):
    queued_s, cycles = filled(spun, (device_s, launch_s))
    assert queued_s == pytest.approx(ahead_s)
    assert cycles == [pytest.approx(ahead_s * 2e9, abs=2)]


@pytest.mark.parametrize("microbatches", [(), ((0.004, 0.004),), ((0.002, 0.004),)], ids=["first", "bound", "below"])
def test_where_launches_bind_the_queue_of_training_runs_empty_too(spun, microbatches):
    assert filled(spun, *microbatches) == (0.0, [])


def test_one_slow_launch_changes_nothing_and_old_steps_are_forgotten(spun):
    steady = [(0.010, 0.004)] * 3
    assert filled(spun, *steady, (0.010, 0.5))[0] == pytest.approx(0.004)
    assert filled(spun, *steady, *[(0.004, 0.004)] * 5)[0] == 0.0


def test_all_ranks_spin_as_long_as_the_furthest_ahead(spun):
    queued_s, cycles = filled(spun, (0.005, 0.004), agreement=SlowerPeer())
    assert (queued_s, cycles) == (0.003, [pytest.approx(0.003 * 2e9, abs=2)])


def test_a_cpu_has_no_queue():
    assert filler_for(Device.cpu, ToldClock(), Alone()) is None
