import pytest
import torch

from sailor_exp.instruments.clock import CpuClock, CudaClock, Interval


class Event:
    """A CUDA event whose times pass one millisecond apart."""

    recorded = 0

    def __init__(self, *, enable_timing):
        assert enable_timing

    def record(self):
        Event.recorded += 1
        self.at_ms = float(Event.recorded)

    def elapsed_time(self, other):
        return other.at_ms - self.at_ms


def test_cuda_time_is_that_between_two_events_in_seconds(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(True))
    clock = CudaClock()
    start = clock.now()
    clock.now()
    interval = Interval(start, clock.now())
    assert not waited, "marking does not wait for the device"
    clock.wait()
    assert waited
    assert clock.seconds(interval) == pytest.approx(0.002)


def test_cpu_time_passes():
    clock = CpuClock()
    interval = Interval(clock.now(), clock.now())
    clock.wait()
    assert 0 < clock.seconds(interval) < 1
