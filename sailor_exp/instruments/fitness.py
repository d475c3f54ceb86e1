"""Whether a CUDA device that is called as its kind is can give its numbers: whole, idle, and able to run the cell."""

import re
from collections.abc import Iterator

import torch

from sailor_exp.config.schema import Cell, Precision
from sailor_exp.errors import UnfitDeviceError
from sailor_exp.units import GIB

LEAST_SHARE_OF_MEMORY = 0.9
"""Of gpu.memory_gb that the device must have. Drivers and ECC keep a part: a T4 of 16 GiB shows CUDA 14.6, 0.91."""

MOST_IN_USE_BYTES = 3 * GIB // 2
"""Of the device that may be in use when a rank starts: its own CUDA context, of about 0.5 GiB, and 1 GiB of others."""

_LEAST_CAPABILITY = {Precision.bf16: (8, 0)}
"""The least compute capability whose tensor cores have the precision; torch emulates bf16 below it."""

_SLICE = re.compile(r"\bMIG\b")
"""In the name that CUDA gives a slice of a GPU: NVIDIA A100-SXM4-40GB MIG 3g.20gb."""

_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


def check_fitness(cell: Cell, device: torch.device) -> None:
    """Refuse a device whose numbers would not be those of the configured GPU; on a CPU nothing is refused.

    Raises UnfitDeviceError with all faults.
    """
    if device.type != "cuda":
        return
    faults = [*_faults_of_kind(cell, device), *_faults_of_use(device), *_faults_of_computing(cell, device)]
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


def _faults_of_computing(cell: Cell, device: torch.device) -> Iterator[str]:
    capability = torch.cuda.get_device_capability(device)
    least = _LEAST_CAPABILITY.get(cell.precision, (0, 0))
    if capability < least:
        yield (
            f"precision={cell.precision} needs compute capability {_dotted(least)}; "
            f"it has {_dotted(capability)}, where torch emulates it. Take precision=fp32."
        )
    built_for = torch.cuda.get_arch_list()
    if built_for and not any(_runs_on(architecture, capability) for architecture in built_for):
        yield (
            f"torch {torch.__version__} has kernels for {', '.join(built_for)}, and none for its compute capability "
            f"{_dotted(capability)}. Install a build of torch that has them."
        )


def _runs_on(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether code for an architecture runs on a compute capability.

    sm_XY: on X.Y and higher Y; compute_XY, which the driver compiles: on X.Y and all above. With a suffix: sm_90a on
    that capability alone, sm_100f on those above it of the same X.
    Source: NVIDIA, CUDA C++ Programming Guide, Binary Compatibility and PTX Compatibility.
    """
    match = _ARCHITECTURE.fullmatch(architecture)
    if match is None:  # a name that we do not know is no reason to refuse
        return True
    code, (major, minor), suffix = match[1], (int(match[2]), int(match[3])), match[4]
    if suffix == "a":
        return capability == (major, minor)
    same_major = capability[0] == major and capability[1] >= minor
    return same_major or (code == "compute" and not suffix and capability >= (major, minor))


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(str(number) for number in capability)
