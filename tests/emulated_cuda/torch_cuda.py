"""`torch.cuda` and NCCL replaced by the emulated device."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self
from unittest import mock

import torch
import torch.distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

from tests.emulated_cuda.gpu import Gpu
from tests.emulated_cuda.streams import Event, Stream
from tests.emulated_cuda.tensors import OnDevice, Place, Watched

Group = str
"""What stands for NCCL: "fake", where one process stands for all ranks and nothing is sent, or "gloo"."""


@contextmanager
def emulated_cuda(gpu: Gpu | None = None, *, group: Group = "fake") -> Iterator[Gpu]:
    """Give this process a GPU until the end of the block."""
    gpu = gpu or Gpu()
    with ExitStack() as stack:
        install(gpu, stack, group=group)
        yield gpu


def install(gpu: Gpu, stack: ExitStack, *, group: Group) -> None:
    """Replace what the program and its libraries ask of CUDA; `stack` undoes it."""
    place = Place(gpu)
    # The host's threads do not compute on a GPU; more than one would only disturb other tests.
    stack.callback(torch.set_num_threads, torch.get_num_threads())
    torch.set_num_threads(1)

    def start() -> None:
        if gpu.process is None:
            gpu.process = os.getpid()
            stack.enter_context(OnDevice(place))
            stack.enter_context(Watched(place))

    stack.enter_context(mock.patch.multiple(torch.cuda, create=True, **_functions(gpu, start), **_streams(gpu)))
    stack.enter_context(mock.patch.multiple(torch.cuda.memory, create=True, **_memory(gpu)))
    stack.enter_context(mock.patch.object(torch, "Generator", _Generator))
    stack.enter_context(mock.patch.object(torch.version, "cuda", "13.0"))
    stack.enter_context(mock.patch.object(torch.cuda.nccl, "version", return_value=(2, 28, 9)))
    stack.enter_context(mock.patch.multiple(torch.cuda.nvtx, range_push=lambda _: 0, range_pop=lambda: 0))
    stack.enter_context(mock.patch.object(torch.distributed, "init_process_group", _meeting(group)))


def _functions(gpu: Gpu, start: Callable[[], None]) -> dict[str, object]:
    def set_device(device: torch.device | int) -> None:
        index = device.index if isinstance(device, torch.device) else device
        gpu.index = index or 0
        start()

    def properties(device: object = None) -> Gpu:
        start()
        return gpu

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: gpu.process is not None,
        "init": start,
        "_lazy_init": start,
        "_is_in_bad_fork": lambda: gpu.process not in {None, os.getpid()},
        "device_count": lambda: gpu.count,
        "current_device": lambda: gpu.index,
        "set_device": set_device,
        "get_device_name": lambda device=None: gpu.name,
        "get_device_properties": properties,
        "get_device_capability": lambda device=None: gpu.capability,
        "get_arch_list": lambda: list(gpu.arch_list),
        "synchronize": lambda device=None: gpu.wait("synchronize"),
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "_sleep": gpu.work,
        "set_sync_debug_mode": lambda mode: setattr(gpu, "sync_debug", mode),
        "is_current_stream_capturing": lambda: False,
        **_memory(gpu),
    }


def _memory(gpu: Gpu) -> dict[str, object]:
    allocator = gpu.allocator

    def reset_peak(device: object = None) -> None:
        allocator.highest = allocator.allocated

    def set_fraction(fraction: float, device: object = None) -> None:
        allocator.fraction = fraction

    return {
        "memory_allocated": lambda device=None: allocator.allocated,
        "max_memory_allocated": lambda device=None: allocator.highest,
        "memory_reserved": lambda device=None: allocator.reserved,
        "max_memory_reserved": lambda device=None: allocator.reserved,
        "memory_stats": lambda device=None: {
            "allocated_bytes.all.current": allocator.allocated,
            "allocated_bytes.all.peak": allocator.highest,
            "reserved_bytes.all.current": allocator.reserved,
            "num_alloc_retries": allocator.retries,
            "num_ooms": 0,
        },
        "reset_peak_memory_stats": reset_peak,
        "set_per_process_memory_fraction": set_fraction,
        "empty_cache": allocator.empty_cache,
        "mem_get_info": lambda device=None: (allocator.free_bytes, allocator.total_bytes),
    }


class _Generator(torch.Generator):
    """Random numbers of the CPU, whatever the device."""

    def __new__(cls, device: object = None) -> Self:
        return super().__new__(cls, device="cpu")


def _streams(gpu: Gpu) -> dict[str, object]:
    """Events and streams of this device. `torch.cuda.Event` and `Stream` are classes, so they are made for it."""
    made = type("Stream", (Stream,), {"gpu": gpu})
    entered = [made()]

    @contextmanager
    def stream(chosen: Stream | None) -> Iterator[None]:
        entered.append(chosen or entered[-1])
        try:
            yield
        finally:
            entered.pop()

    return {
        "Event": type("Event", (Event,), {"gpu": gpu}),
        "Stream": made,
        "stream": stream,
        "current_stream": lambda device=None: entered[-1],
        "default_stream": lambda device=None: entered[0],
    }


def _meeting(group: Group) -> Callable[..., None]:
    meet = torch.distributed.init_process_group

    def init_process_group(backend: str, *, init_method: str, rank: int, world_size: int, **keywords: object) -> None:
        if backend == "nccl" and group == "fake":
            meet("fake", store=FakeStore(), rank=rank, world_size=world_size, **keywords)
        else:
            stands = group if backend == "nccl" else backend
            meet(stands, init_method=init_method, rank=rank, world_size=world_size, **keywords)

    return init_process_group
