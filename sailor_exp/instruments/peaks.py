"""The highest memory of a step, phase by phase.

CUDA's allocator keeps the peaks. On a CPU every allocation and release that PyTorch's allocator reports to the profiler
is added up. Neither comes from a formula.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
import torch.distributed
from torch.profiler import ProfilerActivity, profile, record_function

from sailor_exp.config.schema import Device

_MARK = "sailor_exp phase: "

_RELEASE_DELAY_S = 0.005

_COLLECTIONS = 3
"""The first collection frees an engine, the second one what the engine held in C++."""


@dataclass(frozen=True, kw_only=True)
class PhaseBytes:
    """Bytes that are allocated at the beginning of a phase, at its highest moment and at its end.

    What lasts between steps is included. If a phase comes back, `began` is of its first time, `ended` of its last.
    """

    began: int
    highest: int
    ended: int


class PeakMeter(Protocol):
    """Follows the allocator through the phases of one step."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def entering(self, phase: str) -> None:
        """Begin a phase, which ends the one before."""

    def peaks(self) -> dict[str, int]:
        """Return the highest bytes of each phase above its start."""

    def phases(self) -> dict[str, PhaseBytes]:
        """Return the bytes at the beginning and end of each phase, and the highest in between."""

    def peak(self) -> int:
        """Return the highest bytes of the whole step, including what lasts between steps."""


class _Phases:
    """Bytes of each phase, in the order in which the phases first came."""

    def __init__(self) -> None:
        self.bytes: dict[str, PhaseBytes] = {}

    def add(self, phase: str, *, began: int, highest: int, ended: int) -> None:
        """Add a phase, or join it with its former time."""
        former = self.bytes.get(phase)
        if former is not None:
            began, highest = former.began, max(former.highest, highest)
        self.bytes[phase] = PhaseBytes(began=began, highest=highest, ended=ended)

    def peaks(self) -> dict[str, int]:
        return {name: phase.highest - phase.began for name, phase in self.bytes.items()}


class CudaPeakMeter:
    """Reads the peaks of CUDA's caching allocator: of calls that allocate, not of kernels that run.

    apart_bytes: allocated bytes that do not belong to what is measured; they are subtracted.
    """

    def __init__(self, device: torch.device, *, apart_bytes: int = 0) -> None:
        self._device = device
        self._apart_bytes = apart_bytes
        self._phase: str | None = None
        self._before = 0
        self._phases = _Phases()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def entering(self, phase: str) -> None:
        self._before = self._close()
        self._phase = phase
        torch.cuda.reset_peak_memory_stats(self._device)

    def peaks(self) -> dict[str, int]:
        return self._phases.peaks()

    def phases(self) -> dict[str, PhaseBytes]:
        return self._phases.bytes

    def peak(self) -> int:
        return max(phase.highest for phase in self._phases.bytes.values())

    def _close(self) -> int:
        allocated = torch.cuda.memory_allocated(self._device) - self._apart_bytes
        if self._phase is not None:
            highest = torch.cuda.max_memory_allocated(self._device) - self._apart_bytes
            self._phases.add(self._phase, began=self._before, highest=highest, ended=allocated)
            self._phase = None
        return allocated


class CpuPeakMeter:
    """Adds up what the CPU allocator reports to PyTorch's profiler.

    The profiler does not follow blocks from before the step: `lasting_bytes` is what lasts between steps. It does not
    see what other threads release: after a collective the step waits until gloo's threads have dropped its tensors, and
    releases them itself.
    Source: c10/core/CPUAllocator.cpp, ProfiledCPUMemoryReporter; c10/core/Allocator.cpp, memoryProfilingEnabled.
    """

    def __init__(self, lasting_bytes: int) -> None:
        self._lasting_bytes = lasting_bytes
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._waiting = ExitStack()
        self._phases = _Phases()
        self._highest = lasting_bytes

    def __enter__(self) -> Self:
        self._waiting.enter_context(_waiting_collectives())
        self._profile.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        self._profile.__exit__(*error)  # type: ignore[no-untyped-call]
        self._waiting.close()
        if error[0] is None:
            self._add_up()

    def entering(self, phase: str) -> None:
        with record_function(_MARK + phase):
            pass

    def peaks(self) -> dict[str, int]:
        return self._phases.peaks()

    def phases(self) -> dict[str, PhaseBytes]:
        return self._phases.bytes

    def peak(self) -> int:
        return self._highest

    def _add_up(self) -> None:
        results: Any = self._profile.profiler.kineto_results  # type: ignore[union-attr]
        phase: str | None = None
        began = highest = allocated = self._lasting_bytes
        for event in sorted(results.events(), key=lambda event: event.start_ns()):
            name = event.name()
            if name.startswith(_MARK):
                if phase is not None:
                    self._phases.add(phase, began=began, highest=highest, ended=allocated)
                phase, began, highest = name.removeprefix(_MARK), allocated, allocated
            elif name == "[memory]":
                allocated += event.nbytes()
                highest = max(highest, allocated)
                self._highest = max(self._highest, highest)
        if phase is not None:
            self._phases.add(phase, began=began, highest=highest, ended=allocated)


@contextmanager
def _waiting_collectives() -> Iterator[None]:
    """Let each collective wait until the thread that ran it has dropped its tensors, a moment after its end."""
    work: Any = torch.distributed.Work
    wait = work.wait

    def wait_longer(*arguments: Any) -> Any:
        result = wait(*arguments)
        time.sleep(_RELEASE_DELAY_S)
        return result

    work.wait = wait_longer
    try:
        yield
    finally:
        work.wait = wait


def peak_meter(device: torch.device, lasting_bytes: int, *, apart_bytes: int = 0) -> PeakMeter:
    """Return the meter of a device for one step; `lasting_bytes` stay allocated between steps."""
    if device.type == Device.cuda.value:
        return CudaPeakMeter(device, apart_bytes=apart_bytes)
    return CpuPeakMeter(lasting_bytes)


def forget_the_past(device: torch.device) -> None:
    """Free what nothing uses any more, and the allocator's cache, so that figures contain only what comes next."""
    for _ in range(_COLLECTIONS):
        gc.collect()
    if device.type == Device.cuda.value:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def allocation_retries(device: torch.device) -> int | None:
    """Return how often CUDA's caching allocator got no memory, freed its cache and asked again, in this process.

    Each time waits for the device. None on a CPU, where that allocator does not exist.
    """
    if device.type != Device.cuda.value:
        return None
    retries: int | None = torch.cuda.memory_stats(device).get("num_alloc_retries")
    return retries


def allocated_bytes(device: torch.device) -> int:
    """Return the bytes that CUDA's caching allocator has given out; 0 on a CPU, where it does not exist."""
    return torch.cuda.memory_allocated(device) if device.type == Device.cuda.value else 0
