"""Clocks under load, at the seam of NVIDIA's management library."""

from types import SimpleNamespace

import pytest
import torch

from sailor_exp.instruments import load
from sailor_exp.instruments.clock import CudaClock
from sailor_exp.instruments.nvml import Gpu
from sailor_exp.records.provenance import ClockReading
from tests.build.fake_nvml import UUID, Library, install

DEVICE = torch.device("cuda", 0)
FULL = ClockReading(sm_mhz=1410, memory_mhz=2619, reasons=[])


@pytest.fixture(autouse=True)
def _one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2-3"))
    monkeypatch.setattr(load, "_of_this_process", load.LoadWatch(None))
    now = iter(range(1000))
    monkeypatch.setattr("sailor_exp.instruments.load.time.monotonic", lambda: float(next(now)))


@pytest.mark.parametrize("old", [True, False])
def test_clocks_and_the_names_of_the_reasons_come_from_the_driver(monkeypatch, old):
    install(monkeypatch, Library(reasons=0x4 | 0x40, old=old))
    gpu = Gpu(UUID)
    assert gpu.highest_sm_mhz() == 1980
    assert gpu.reading() == ClockReading(sm_mhz=1410, memory_mhz=2619, reasons=["sw_power_cap", "hw_thermal_slowdown"])


def test_what_the_driver_does_not_say_is_none_and_no_reason_is_an_empty_list(monkeypatch):
    install(monkeypatch, Library(mhz={}, reasons=None))
    assert Gpu(UUID).reading() == ClockReading(sm_mhz=None, memory_mhz=None, reasons=None)
    install(monkeypatch, Library(reasons=0))
    assert Gpu(UUID).reading() == FULL


def test_the_clocks_are_read_when_the_work_is_queued_and_before_the_rank_waits_for_it(monkeypatch):
    library, order = Library(), []
    install(monkeypatch, library)
    watch = load.watch(DEVICE)
    library.nvmlDeviceGetClockInfo = lambda *_: order.append("read") or 3
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    CudaClock().wait()
    assert order == ["read", "read", "wait"]
    assert len(watch.taken().queued) == 1


def test_the_last_readings_of_each_cell_are_kept_and_one_more_of_its_end(monkeypatch):
    library = Library()
    install(monkeypatch, library)
    watch = load.watch(DEVICE)
    for mhz in range(1400, 1410):
        library.mhz[1] = mhz
        load.look()
    library.mhz[1] = 345
    taken = watch.taken()
    assert [reading.sm_mhz for reading in taken.queued] == list(range(1402, 1410))
    assert (taken.end.sm_mhz, taken.sm_max_mhz) == (345, 1980)
    assert watch.taken().queued == []


def test_steps_that_follow_each_other_at_once_are_not_all_looked_at(monkeypatch):
    install(monkeypatch, Library())
    watch = load.watch(DEVICE)
    monkeypatch.setattr("sailor_exp.instruments.load.time.monotonic", lambda: 5.0)
    load.look()
    load.look()
    assert len(watch.taken().queued) == 1


@pytest.mark.parametrize(("device", "library"), [(torch.device("cpu"), Library()), (DEVICE, None)])
def test_without_a_gpu_or_without_the_library_nothing_is_known(monkeypatch, device, library):
    install(monkeypatch, library)
    watch = load.watch(device)
    load.look()
    assert watch.taken() is None


def test_another_gpu_than_the_ranks_is_not_read(monkeypatch):
    install(monkeypatch, Library())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="9-9-9"))
    assert load.watch(DEVICE).taken() is None
