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


def test_the_host_tells_how_long_it_took_to_launch_what_is_between_two_marks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: pytest.fail("marking waits for the device"))
    now = iter([5_000, 255_000])
    monkeypatch.setattr("sailor_exp.instruments.clock.time.perf_counter_ns", lambda: next(now))
    clock = CudaClock()
    assert clock.launch_seconds(Interval(clock.now(), clock.now())) == pytest.approx(0.00025)


def test_a_cpu_does_the_work_when_it_is_launched():
    assert CpuClock().launch_seconds(Interval(0, 1)) is None


def test_cpu_time_passes():
    clock = CpuClock()
    interval = Interval(clock.now(), clock.now())
    clock.wait()
    assert 0 < clock.seconds(interval) < 1
