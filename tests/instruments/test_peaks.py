import pytest
import torch

from sailor_exp.instruments.peaks import CpuPeakMeter, CudaPeakMeter, PhaseBytes
from sailor_exp.units import MIB


def test_the_cpu_meter_sees_the_highest_moment_of_each_phase():
    with CpuPeakMeter(lasting_bytes=7 * MIB) as meter:
        meter.entering("first")
        kept = torch.empty(2 * MIB, dtype=torch.uint8)
        for _ in range(3):
            torch.empty(4 * MIB, dtype=torch.uint8)
        meter.entering("second")
        del kept
        again = torch.empty(MIB, dtype=torch.uint8)
    del again
    assert meter.peaks() == {"first": 6 * MIB, "second": 0}
    assert meter.phases() == {
        "first": PhaseBytes(began=7 * MIB, highest=13 * MIB, ended=9 * MIB),
        "second": PhaseBytes(began=9 * MIB, highest=9 * MIB, ended=8 * MIB),
    }
    assert meter.peak() == 13 * MIB


def test_a_phase_that_comes_back_is_one_phase():
    with CpuPeakMeter(lasting_bytes=0) as meter:
        for size in (3, 5, 1):
            meter.entering("forward")
            kept = torch.empty(size * MIB, dtype=torch.uint8)
            meter.entering("backward")
            del kept
    assert meter.phases()["forward"] == PhaseBytes(began=0, highest=5 * MIB, ended=MIB)


@pytest.fixture
def gloo_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_tensor_that_another_thread_reduced_is_seen_to_go(gloo_alone):
    with CpuPeakMeter(lasting_bytes=0) as meter:
        meter.entering("reducing")
        for _ in range(100):
            torch.distributed.all_reduce(torch.empty(MIB, dtype=torch.uint8))
    assert meter.phases()["reducing"] == PhaseBytes(began=0, highest=MIB, ended=0)


def test_the_cuda_meter_asks_the_allocator_at_each_border(monkeypatch):
    figures = iter([100, 130, 120])
    highest = iter([160, 145])
    resets = []
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(figures))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: next(highest))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    device = torch.device("cuda", 0)
    with CudaPeakMeter(device, apart_bytes=10) as meter:
        meter.entering("forward head")
        meter.entering("backward head")
    assert meter.peaks() == {"forward head": 60, "backward head": 15}
    assert meter.phases()["backward head"] == PhaseBytes(began=120, highest=135, ended=110)
    assert meter.peak() == 150
    assert resets == [device, device]
