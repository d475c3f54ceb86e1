"""Events and streams of the emulated device, which does everything in the order of the calls."""

from typing import Self

from tests.emulated_cuda.gpu import Gpu


class Event:
    """An event; its moment is that at which the device has done what it has got."""

    gpu: Gpu

    def __init__(self, *, enable_timing: bool = False, blocking: bool = False) -> None:
        self._timed = enable_timing
        self._at_s: float | None = None

    def record(self, stream: object = None) -> None:
        self._at_s = self.gpu.now_s()

    def wait(self, stream: object = None) -> None:
        return

    def query(self) -> bool:
        return self._at_s is None or self.gpu.now_s() >= self._at_s

    def synchronize(self) -> None:
        self.gpu.wait("event synchronize")

    def elapsed_time(self, other: Self) -> float:
        if not (self._timed and other._timed) or self._at_s is None or other._at_s is None:
            raise RuntimeError("Both events must be recorded, with timing, before calculating elapsed time.")
        return (other._at_s - self._at_s) * 1e3


class Stream:
    """A stream; work in another one has been done before the call that waits for it."""

    gpu: Gpu

    def wait_stream(self, stream: Self) -> None:
        return

    def wait_event(self, event: Event) -> None:
        return

    def synchronize(self) -> None:
        self.gpu.wait("stream synchronize")
