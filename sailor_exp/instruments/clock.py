"""Clocks of a device: monotonic time on a CPU, events in the stream on CUDA."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from sailor_exp.config.schema import Device
from sailor_exp.instruments.load import look
from sailor_exp.units import Seconds


@dataclass(frozen=True)
class Interval:
    """Two marks of one clock."""

    start: Any
    stop: Any


class Clock(Protocol):
    """Marks moments without waiting for the device, and gives the seconds between them afterwards."""

    def now(self) -> Any:
        """Return a mark of the moment when all work that the device has got so far is done."""

    def wait(self) -> None:
        """Wait until all marked moments have passed."""

    def seconds(self, interval: Interval) -> Seconds:
        """Return the length of an interval. Both marks must have passed: call `wait` first."""

    def launch_seconds(self, interval: Interval) -> Seconds | None:
        """Return how long the host took from mark to mark, to launch the work; None where the host does the work."""


class CpuClock:
    """`time.perf_counter_ns`: work on a CPU is done when its call returns."""

    def now(self) -> int:
        return time.perf_counter_ns()

    def wait(self) -> None:
        return

    def seconds(self, interval: Interval) -> Seconds:
        return Seconds((interval.stop - interval.start) / 1e9)

    def launch_seconds(self, interval: Interval) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True)
class CudaMark:
    """An event in the stream, and the host's clock when it was put there."""

    event: torch.cuda.Event
    host_ns: int


class CudaClock:
    """CUDA events in the current stream, with a resolution of half a microsecond.

    Nothing waits for the stream inside a step, so that launches run ahead of the device as in training.
    """

    def now(self) -> CudaMark:
        event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return CudaMark(event, time.perf_counter_ns())

    def wait(self) -> None:
        look()  # the work of a step is queued, and most of it is not done
        torch.cuda.synchronize()

    def seconds(self, interval: Interval) -> Seconds:
        return Seconds(interval.start.event.elapsed_time(interval.stop.event) / 1e3)

    def launch_seconds(self, interval: Interval) -> Seconds:
        return Seconds((interval.stop.host_ns - interval.start.host_ns) / 1e9)


def clock_for(device: Device) -> Clock:
    """Return the clock of a kind of device."""
    return CudaClock() if device is Device.cuda else CpuClock()
