"""The rank side of profile=layers, on a CPU whose clock tells launches apart from the work, as CUDA's does."""

import pytest
import torch

from sailor_exp.instruments.clock import CpuClock
from sailor_exp.profiles.layers import rank
from sailor_exp.profiles.layers.rank import LayersRank
from tests.build.cells import cell
from tests.build.fake_instruments import Voice

ASKED = ("sampling.warmup=2", "sampling.min_steps=2", "sampling.max_steps=2", "model.num_layers=1")


class LaunchingClock(CpuClock):
    """The host takes half as long as the device."""

    def launch_seconds(self, interval):
        return self.seconds(interval) / 2


def measured(monkeypatch, clock, *overrides):
    monkeypatch.setattr(rank, "clock_for", lambda _: clock)
    asked = cell(*ASKED, *overrides)
    return LayersRank(asked, torch.device("cpu"), Voice()).measure(asked)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_phase_of_each_part_has_the_hosts_time_beside_the_devices(monkeypatch, alone, precision):
    share = measured(monkeypatch, LaunchingClock(), f"precision={precision}")
    for part in share.samples.parts:
        for phase in ("forward_s", "backward_s", "update_s"):
            (device_s,), (launch_s,) = getattr(part, phase), getattr(part.launch, phase)
            assert launch_s == pytest.approx([seconds / 2 for seconds in device_s])
            assert len(launch_s) == 4


def test_on_a_cpu_there_is_no_launch_beside_the_work(monkeypatch, alone):
    share = measured(monkeypatch, CpuClock())
    assert [part.launch for part in share.samples.parts] == [None] * len(share.samples.parts)


class Filler:
    """Keeps in order what it is asked; the device has work for a millisecond more each time."""

    def __init__(self, log):
        self.log = log
        self.filled = 0

    def fill(self):
        self.log.append("fill")
        self.filled += 1
        return self.filled / 1000

    def ran(self, *, device_s, launch_s):
        self.log.append((device_s, launch_s))


class LoggingVoice(Voice):
    def __init__(self, log):
        super().__init__()
        self.log = log

    def entering(self, phase):
        if phase == "forward embedding":
            self.log.append("step")


def test_each_step_starts_on_a_filled_queue_and_tells_how_far_the_host_got_ahead(monkeypatch, alone):
    log = []
    monkeypatch.setattr(rank, "clock_for", lambda _: LaunchingClock())
    monkeypatch.setattr(rank, "filler_for", lambda *_: Filler(log))
    asked = cell(*ASKED)
    share = LayersRank(asked, torch.device("cpu"), LoggingVoice(log)).measure(asked)
    assert share.samples.queued_s == [[0.001, 0.002, 0.003, 0.004]]
    assert [entry for entry in log if isinstance(entry, str)] == [
        "fill",
        "step",
        "fill",
        "fill",
        "step",
        "fill",
        "step",
    ]
    told = [entry for entry in log if not isinstance(entry, str)]
    parts = share.samples.parts
    device_s = [
        sum(step) for step in zip(*(s for part in parts for s in (*part.forward_s, *part.backward_s)), strict=True)
    ]
    assert told == [pytest.approx((seconds, seconds / 2)) for seconds in device_s]


def test_on_a_cpu_no_queue_is_filled(monkeypatch, alone):
    assert measured(monkeypatch, CpuClock()).samples.queued_s is None
