"""What decides besides the cell how CUDA computes. It is set in a rank, and read back for the record."""

import os

import torch

from sailor_exp.config.schema import Cell, Precision
from sailor_exp.errors import NoTensorFloat32Error

_TF32_SINCE = (8, 0)
_TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
_MAX_CONNECTIONS = "CUDA_DEVICE_MAX_CONNECTIONS"


def check_precision(cell: Cell, device: torch.device) -> None:
    """Refuse a device whose products would be those of another precision.

    Raises NoTensorFloat32Error.
    """
    if cell.precision is not Precision.tf32:
        return
    capability = torch.cuda.get_device_capability(device)
    if capability < _TF32_SINCE:
        raise NoTensorFloat32Error(found=torch.cuda.get_device_name(device), capability=capability)


def tf32_asked(cell: Cell, *, about_model: bool) -> bool:
    """Whether products of fp32 tensors may use TF32. Without a model they are fp32: no precision is in the identity."""
    return about_model and cell.precision is Precision.tf32


def set_environment(cell: Cell, *, about_model: bool) -> None:
    """Set the variables that decide how CUDA computes. Nothing in this process may have called CUDA yet.

    NVIDIA_TF32_OVERRIDE goes before torch's setting inside NVIDIA's libraries: 1 makes fp32 products TF32, 0 the
    reverse.

    CUDA_DEVICE_MAX_CONNECTIONS=1 is one queue for all streams, so kernels start in the order of their launches.
    Megatron-Core relies on it: a backward launches the all-reduce of the input's gradient, then the product that gives
    the weights' gradient (megatron/core/tensor_parallel/layers.py). Without a model CUDA's default holds: in one queue
    a product would wait for all earlier all-reduces.
    """
    _set(_TF32_OVERRIDE, None if tf32_asked(cell, about_model=about_model) else "0")
    _set(_MAX_CONNECTIONS, "1" if about_model else None)


def allow_tf32(*, allowed: bool) -> None:
    """Allow TF32 in products of fp32 tensors or not, whatever the environment sets: their time differs several-fold."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def settings() -> dict[str, str | None]:
    """Return the settings that are in effect, as torch and the environment give them; None for one that is not set."""
    precision = getattr(torch.backends.cuda.matmul, "fp32_precision", None)  # since torch 2.9
    return {
        "matmul.allow_tf32": str(torch.backends.cuda.matmul.allow_tf32).lower(),
        "matmul.fp32_precision": precision,
        "cudnn.allow_tf32": str(torch.backends.cudnn.allow_tf32).lower(),
        **{name: os.environ.get(name) for name in (_TF32_OVERRIDE, _MAX_CONNECTIONS)},
    }


def _set(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
