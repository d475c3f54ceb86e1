"""The emulated device: its facts, its allocator, the moment until which it is busy, and what made the host wait."""

import time
import warnings
import weakref
from collections import Counter
from dataclasses import dataclass, field

import torch

from sailor_exp.units import MIB

_BLOCK_BYTES = 512
"""The caching allocator gives out multiples of this. Source: c10/cuda/CUDACachingAllocator.h, kMinBlockSize."""

_SEGMENT_BYTES = 2 * MIB
_CONTEXT_BYTES = 500 * MIB
_CLOCK_HZ = 1.98e9
_FLOP_PER_S = {torch.bfloat16: 750e12, torch.float32: 50e12}
_TF32_FLOP_PER_S = 390e12


class Allocator:
    """Follows the storages that lie on the device, and refuses what is above its limit."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.fraction = 1.0
        self.allocated = 0
        self.highest = 0
        self.reserved = 0
        self.retries = 0
        self._held: dict[int, tuple[weakref.ref, int]] = {}

    def holds(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._held

    def hold(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor until it is freed. Raises torch.OutOfMemoryError."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._held:
            return
        size = -(-storage.nbytes() // _BLOCK_BYTES) * _BLOCK_BYTES
        self._make_room(size)
        self._held[key] = (weakref.ref(storage, lambda _: self._free(key)), size)
        self.allocated += size
        self.highest = max(self.highest, self.allocated)
        self.reserved = max(self.reserved, -(-self.allocated // _SEGMENT_BYTES) * _SEGMENT_BYTES)

    def empty_cache(self) -> None:
        self.reserved = -(-self.allocated // _SEGMENT_BYTES) * _SEGMENT_BYTES

    @property
    def free_bytes(self) -> int:
        return self.total_bytes - self.reserved - _CONTEXT_BYTES

    def _make_room(self, size: int) -> None:
        limit = int(self.total_bytes * self.fraction)
        if self.reserved + size > limit:
            self.retries += 1
            self.empty_cache()
        if self.allocated + size > limit:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size / MIB:.2f} MiB. GPU 0 has a total capacity of "
                f"{self.total_bytes / MIB:.2f} MiB of which {self.free_bytes / MIB:.2f} MiB is free."
            )

    def _free(self, key: int) -> None:
        self.allocated -= self._held.pop(key)[1]


@dataclass
class Gpu:
    """One kind of device, as many as `count` of them; a process uses one.

    waits: what made the host wait for the device, and how often; a test clears it.
    """

    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str = "00000000-0000-0000-0000-0000000000e0"
    total_memory: int = 81079 * MIB
    capability: tuple[int, int] = (9, 0)
    multi_processor_count: int = 132
    arch_list: tuple[str, ...] = ("sm_80", "sm_90", "sm_100", "compute_100")
    count: int = 8
    index: int = 0
    busy_until_s: float = 0.0
    process: int | None = None
    sync_debug: str = "default"
    waits: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.allocator = Allocator(self.total_memory)

    @property
    def major(self) -> int:
        return self.capability[0]

    @property
    def minor(self) -> int:
        return self.capability[1]

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.index)

    def wait(self, why: str) -> None:
        """Count a wait of the host, and let the time pass that the device still works.

        sync_debug: as `torch.cuda.set_sync_debug_mode` says; a synchronise by name is no fault.
        """
        self.waits[why] += 1
        if not why.endswith("synchronize") and self.sync_debug == "error":
            raise RuntimeError(f"called a synchronizing CUDA operation: {why}")
        if not why.endswith("synchronize") and self.sync_debug == "warn":
            warnings.warn(f"called a synchronizing CUDA operation: {why}", stacklevel=2)
        while (rest_s := self.busy_until_s - time.perf_counter()) > 0:
            time.sleep(rest_s)

    def work(self, cycles: int) -> None:
        """Let the device be busy for so many cycles longer."""
        self.busy_until_s = self.now_s() + cycles / _CLOCK_HZ

    def compute(self, flop: float, dtype: torch.dtype) -> None:
        """Let the device be busy for so many floating-point operations longer."""
        tf32 = dtype is torch.float32 and torch.backends.cuda.matmul.allow_tf32
        rate = _TF32_FLOP_PER_S if tf32 else _FLOP_PER_S[dtype]
        self.busy_until_s = self.now_s() + flop / rate

    def now_s(self) -> float:
        """The moment at which all that the device has got so far is done."""
        return max(time.perf_counter(), self.busy_until_s)
