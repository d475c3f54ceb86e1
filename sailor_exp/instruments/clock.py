"""When something happened on the device: monotonic time on a CPU, events in the stream on CUDA."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from sailor_exp.config.schema import Device
from sailor_exp.units import Seconds


@dataclass(frozen=True)
class Interval:
    """Two marks of one clock."""

    start: Any
    stop: Any


class Clock(Protocol):
    """Marks moments without waiting for the device; tells the seconds between them afterwards."""

    def now(self) -> Any:
        """Mark the moment when all work given to the device so far is done."""

    def wait(self) -> None:
        """Return when that moment has come."""

    def seconds(self, interval: Interval) -> Seconds:
        """Length of an interval whose marks have passed: call `wait` before."""


class CpuClock:
    """`time.perf_counter_ns`: work on a CPU is done when its call returns."""

    def now(self) -> int:
        return time.perf_counter_ns()

    def wait(self) -> None:
        return

    def seconds(self, interval: Interval) -> Seconds:
        return Seconds((interval.stop - interval.start) / 1e9)


class CudaClock:
    """CUDA events in the current stream, with their resolution of half a microsecond.

    The stream is never waited for inside a step, so that launches run ahead of the device as in training.
    """

    def now(self) -> torch.cuda.Event:
        event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def wait(self) -> None:
        torch.cuda.synchronize()

    def seconds(self, interval: Interval) -> Seconds:
        return Seconds(interval.start.elapsed_time(interval.stop) / 1e3)


def clock_for(device: Device) -> Clock:
    """Return the clock of a kind of device."""
    return CudaClock() if device is Device.cuda else CpuClock()
