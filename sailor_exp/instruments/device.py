"""The device of a rank: which one it is, whether it is of the configured kind, and the facts that its driver gives."""

import re
import subprocess

import torch

from sailor_exp.config.schema import Cell, Device
from sailor_exp.errors import DeviceMismatchError, TooFewDevicesError
from sailor_exp.instruments.cuda_settings import settings
from sailor_exp.records.provenance import DeviceFacts, cpu_model
from sailor_exp.units import GIB

_CLOCKS = {"sm": "clocks.sm", "memory": "clocks.mem", "sm_max": "clocks.max.sm"}


def rank_device(cell: Cell, rank: int) -> torch.device:
    """Return the device of a rank; on CUDA the visible one of the rank's number, limited to gpu.memory_gb.

    Raises TooFewDevicesError if fewer devices than ranks are visible.
    """
    if cell.gpu.device is Device.cpu:
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    if rank >= visible:
        raise TooFewDevicesError(asked=cell.ranks, visible=visible)
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    _limit_cuda_memory(cell, device)
    return device


def check_device(cell: Cell, device: torch.device) -> None:
    """Refuse a device of another kind than the configured GPU, whose name the results get.

    Raises DeviceMismatchError.
    """
    pattern, name = cell.gpu.device_name, device_name(device)
    if pattern is not None and not re.search(pattern, name):
        raise DeviceMismatchError(asked=cell.gpu.name, pattern=pattern, found=name)


def device_name(device: torch.device) -> str:
    """Return the name of the device, on CUDA as its driver gives it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()


def facts(device: torch.device) -> DeviceFacts:
    """Return the facts about the device that a reader of the numbers may need."""
    if device.type != "cuda":
        return DeviceFacts(name=cpu_model(), uuid=None, driver=None, memory_bytes=None, clock_mhz={})
    properties = torch.cuda.get_device_properties(device)
    uuid = f"GPU-{properties.uuid}"
    driver, *clocks = _nvidia_smi(uuid, ["driver_version", *_CLOCKS.values()])
    return DeviceFacts(
        name=properties.name,
        uuid=uuid,
        driver=driver,
        memory_bytes=properties.total_memory,
        clock_mhz={name: _whole(value) for name, value in zip(_CLOCKS, clocks, strict=True)},
        cuda=torch.version.cuda,
        nccl=_nccl_version(),
        settings=settings(),
    )


def _limit_cuda_memory(cell: Cell, device: torch.device) -> None:
    """Limit the allocator to gpu.memory_gb if the device has more."""
    total = torch.cuda.get_device_properties(device).total_memory
    fraction = cell.gpu.memory_gb * GIB / total
    if fraction < 1.0:
        torch.cuda.set_per_process_memory_fraction(fraction, device)


def _nccl_version() -> str | None:
    """Return the version of the NCCL that torch was built with; None for a build without it."""
    try:
        version: tuple[int, ...] = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    except (AttributeError, RuntimeError):
        return None
    return ".".join(str(number) for number in version)


def _nvidia_smi(uuid: str, fields: list[str]) -> list[str | None]:
    command = [
        "nvidia-smi",
        f"--id={uuid}",
        f"--query-gpu={','.join(fields)}",
        "--format=csv,noheader,nounits",
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return [None] * len(fields)
    values = [value.strip() for value in answer.stdout.strip().split(",")]
    return list(values) if len(values) == len(fields) else [None] * len(fields)


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdigit() else None
