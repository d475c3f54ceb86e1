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
