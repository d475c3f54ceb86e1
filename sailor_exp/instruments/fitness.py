"""Whether a CUDA device that is called as its kind is can give its numbers: whole and idle."""

import re
from collections.abc import Iterator

import torch

from sailor_exp.config.schema import Cell
from sailor_exp.errors import UnfitDeviceError
from sailor_exp.units import GIB

LEAST_SHARE_OF_MEMORY = 0.9
"""Of gpu.memory_gb that the device must have. Drivers and ECC keep a part: a T4 of 16 GiB shows CUDA 14.6, 0.91."""

MOST_IN_USE_BYTES = 3 * GIB // 2
"""Of the device that may be in use when a rank starts: its own CUDA context, of about 0.5 GiB, and 1 GiB of others."""

_SLICE = re.compile(r"\bMIG\b")
"""In the name that CUDA gives a slice of a GPU: NVIDIA A100-SXM4-40GB MIG 3g.20gb."""


def check_fitness(cell: Cell, device: torch.device) -> None:
    """Refuse a device whose numbers would not be those of the configured GPU; on a CPU nothing is refused.

    Raises UnfitDeviceError with all faults.
    """
    if device.type != "cuda":
        return
    faults = [*_faults_of_kind(cell, device), *_faults_of_use(device)]
    if faults:
        raise UnfitDeviceError(asked=cell.gpu.name, found=torch.cuda.get_device_name(device), faults=faults)


def _faults_of_kind(cell: Cell, device: torch.device) -> Iterator[str]:
    """Yield why the device is no whole GPU of its kind. A slice can be measured as a kind of its own."""
    if _SLICE.search(torch.cuda.get_device_name(device)) and "MIG" not in (cell.gpu.device_name or ""):
        yield (
            "It is a MIG slice. Turn MIG off, or give the slice a kind of its own in conf/gpu, "
            "with its memory_gb and a device_name that has MIG in it."
        )
    total = torch.cuda.get_device_properties(device).total_memory
    if total < LEAST_SHARE_OF_MEMORY * cell.gpu.memory_gb * GIB:
        yield (
            f"It has {total / GIB:.1f} GiB where gpu.memory_gb={cell.gpu.memory_gb:g}. "
            "Choose the gpu of this device, or set gpu.memory_gb to what it has."
        )


def _faults_of_use(device: torch.device) -> Iterator[str]:
    free, total = torch.cuda.mem_get_info(device)
    if total - free > MOST_IN_USE_BYTES:
        yield (
            f"{(total - free) / GIB:.1f} GiB of its memory are in use before the rank has allocated anything, of which "
            "its CUDA context is about 0.5. End what else runs there (nvidia-smi lists it), or wait for it."
        )
