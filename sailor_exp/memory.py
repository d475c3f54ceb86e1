"""What a step keeps, and what it reaches at most, part by part.

Activations: saved-tensor hooks see every tensor that autograd keeps for a backward; storages are counted once, and
what lasts between steps, parameters and masks, not at all. Peaks: CUDA's allocator keeps them; on a CPU every
allocation and release that PyTorch's allocator reports to the profiler is added up. Neither comes from a formula.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
import torch.distributed
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from sailor_exp.chain import Chain, StepIntervals
from sailor_exp.config import Device
from sailor_exp.model import Batch

_MARK = "sailor_exp phase: "
_LETTING_GO_S = 0.005
_COLLECTIONS = 3
"""An engine goes with the first one, and what it held in C++ with the second."""


@dataclass
class Footprint:
    """Storages, each counted once: how many elements and bytes."""

    floats: int = 0
    bytes: int = 0
    _seen: set[int] = field(default_factory=set, repr=False)

    def add(self, tensor: Tensor) -> None:
        """Count the storage behind a tensor, in elements of its type."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self._seen:
            return
        self._seen.add(storage.data_ptr())
        self.bytes += storage.nbytes()
        self.floats += storage.nbytes() // tensor.element_size()


def footprint(tensors: Iterable[Tensor]) -> Footprint:
    """Return elements and bytes of the storages behind some tensors."""
    total = Footprint()
    for tensor in tensors:
        total.add(tensor)
    return total


@dataclass(frozen=True, kw_only=True)
class PhaseBytes:
    """What is allocated as a phase goes by, what lasts between steps included.

    Of a phase that comes back the beginning is that of the first time, the end that of the last.
    """

    began: int
    highest: int
    ended: int


class PeakMeter(Protocol):
    """Follows the allocator through the phases of one step."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def entering(self, phase: str) -> None:
        """Begin a phase; the one before it ends."""

    def peaks(self) -> dict[str, int]:
        """Highest bytes above the start of each phase."""

    def phases(self) -> dict[str, PhaseBytes]:
        """Bytes as each phase began and ended, and the highest in between."""

    def peak(self) -> int:
        """Highest bytes of the whole step, what lasts between steps included."""


class _Phases:
    """Phases in the order in which they came first, from the bytes at each border and the highest in between."""

    def __init__(self) -> None:
        self.bytes: dict[str, PhaseBytes] = {}

    def add(self, phase: str, *, began: int, highest: int, ended: int) -> None:
        """Add one phase, or what it did when it came back."""
        former = self.bytes.get(phase)
        if former is not None:
            began, highest = former.began, max(former.highest, highest)
        self.bytes[phase] = PhaseBytes(began=began, highest=highest, ended=ended)

    def peaks(self) -> dict[str, int]:
        return {name: phase.highest - phase.began for name, phase in self.bytes.items()}


class CudaPeakMeter:
    """CUDA's caching allocator keeps the highest figure itself, of calls that allocate, not of kernels that run.

    apart_bytes: what is allocated and belongs to no cell.
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

    Blocks from before the step are not followed: pass what lasts between steps as `lasting_bytes`. Nor is what other
    threads release: after a collective the step waits until gloo's have let go of its tensors, and releases them
    itself.
    Source: c10/core/CPUAllocator.cpp, ProfiledCPUMemoryReporter; c10/core/Allocator.cpp, memoryProfilingEnabled.
    """

    def __init__(self, lasting_bytes: int) -> None:
        self._lasting_bytes = lasting_bytes
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._patience = ExitStack()
        self._phases = _Phases()
        self._highest = lasting_bytes

    def __enter__(self) -> Self:
        self._patience.enter_context(_patient_collectives())
        self._profile.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        self._profile.__exit__(*error)  # type: ignore[no-untyped-call]
        self._patience.close()
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
def _patient_collectives() -> Iterator[None]:
    """Wait after each collective for the thread that ran it, which drops its tensors a moment after it is done."""
    work: Any = torch.distributed.Work
    wait = work.wait

    def wait_longer(*arguments: Any) -> Any:
        done = wait(*arguments)
        time.sleep(_LETTING_GO_S)
        return done

    work.wait = wait_longer
    try:
        yield
    finally:
        work.wait = wait


@dataclass(frozen=True, kw_only=True)
class PartFootprint:
    """Memory of one part of the chain in one step; peaks in bytes above the start of the phase."""

    params: Footprint
    entered: Footprint
    handed_on: Footprint
    kept: Footprint
    peak_forward_bytes: int
    peak_backward_bytes: int
    peak_update_bytes: int


@dataclass(frozen=True, kw_only=True)
class StepFootprint:
    """Memory of one step on this rank, and what allocator and device say of the whole process."""

    parts: list[PartFootprint]
    peak_bytes: int
    reserved_bytes: int | None
    device_used_bytes: int | None


class MemoryObserver:
    """Runs one step of a chain and watches what it keeps. Optimizer states must exist: run a step before."""

    def __init__(self, chain: Chain, device: torch.device, *, apart_bytes: int) -> None:
        self._chain = chain
        self._device = device
        lasting = footprint(chain.engine.lasting_tensors())
        self._meter = peak_meter(device, lasting.bytes, apart_bytes=apart_bytes)
        self._kept: dict[str, Footprint] = defaultdict(Footprint)
        self._handed_on: dict[str, Footprint] = defaultdict(Footprint)
        self._entered: dict[str, Footprint] = defaultdict(Footprint)
        self._lasting = _lasting_storages(chain.parts)
        self._phase = ""

    def step(self, batch: Batch) -> tuple[StepIntervals, StepFootprint]:
        """Return what the chain's step returned, and its footprint."""
        with ExitStack() as stack:
            for part in self._chain.parts:
                stack.callback(part.register_forward_pre_hook(self._note_inputs).remove)
                for outlet in part.outlets():
                    stack.callback(outlet.register_forward_hook(self._note_output).remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack))
            stack.enter_context(self._meter)
            intervals = self._chain.step(batch, self._entering)
        return intervals, self._footprint()

    def _entering(self, phase: str) -> None:
        self._phase = phase
        self._meter.entering(phase)

    def _note_inputs(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for tensor in inputs:
            self._entered[self._phase].add(tensor)

    def _note_output(self, _: nn.Module, __: Any, output: Tensor | tuple[Tensor, ...]) -> None:
        self._handed_on[self._phase].add(output if isinstance(output, Tensor) else output[0])

    def _pack(self, tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in self._lasting:
            self._kept[self._phase].add(tensor)
        return tensor.detach()

    def _footprint(self) -> StepFootprint:
        peaks = self._meter.peaks()
        on_cuda = self._device.type == "cuda"
        parts = [
            PartFootprint(
                params=footprint(part.parameters()),
                entered=self._entered[f"forward {name}"],
                handed_on=self._handed_on[f"forward {name}"],
                kept=self._kept[f"forward {name}"],
                peak_forward_bytes=peaks[f"forward {name}"],
                peak_backward_bytes=peaks[f"backward {name}"],
                peak_update_bytes=peaks[f"update {name}"],
            )
            for name, part in zip(self._chain.names, self._chain.parts, strict=True)
        ]
        return StepFootprint(
            parts=parts,
            peak_bytes=self._meter.peak(),
            reserved_bytes=torch.cuda.memory_reserved(self._device) if on_cuda else None,
            device_used_bytes=_device_used_bytes(self._device) if on_cuda else None,
        )


def peak_meter(device: torch.device, lasting_bytes: int, *, apart_bytes: int = 0) -> PeakMeter:
    """Return the meter of a device, for a step between which `lasting_bytes` stay allocated."""
    if device.type == Device.cuda.value:
        return CudaPeakMeter(device, apart_bytes=apart_bytes)
    return CpuPeakMeter(lasting_bytes)


def forget_the_past(device: torch.device) -> None:
    """Give back what is no longer used, and what the allocator's cache holds: figures are of what comes now alone."""
    for _ in range(_COLLECTIONS):
        gc.collect()
    if device.type == Device.cuda.value:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def allocated_bytes(device: torch.device) -> int:
    """Bytes that CUDA's caching allocator has given out; on a CPU 0, as there is no allocator to ask."""
    return torch.cuda.memory_allocated(device) if device.type == Device.cuda.value else 0


@contextmanager
def kept_for_backward(modules: Iterable[nn.Module]) -> Iterator[Footprint]:
    """Count what autograd keeps inside the block, without what lasts: parameters and buffers of the modules."""
    kept, lasting = Footprint(), _lasting_storages(modules)

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in lasting:
            kept.add(tensor)
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
        yield kept


def _lasting_storages(modules: Iterable[nn.Module]) -> set[int]:
    lasting = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
    return {tensor.untyped_storage().data_ptr() for tensor in lasting}


def _unpack(tensor: Tensor) -> Tensor:
    return tensor


def _device_used_bytes(device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return total - free
