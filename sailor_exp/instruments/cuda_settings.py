"""What decides besides the cell how CUDA computes. It is set in a rank, and read back for the record."""

import torch

from sailor_exp.config.schema import Cell, Precision
from sailor_exp.errors import NoTensorFloat32Error

_TF32_SINCE = (8, 0)


def check_precision(cell: Cell, device: torch.device) -> None:
    """Refuse a device whose products would be those of another precision.

    Raises NoTensorFloat32Error.
    """
    if cell.precision is not Precision.tf32:
        return
    capability = torch.cuda.get_device_capability(device)
    if capability < _TF32_SINCE:
        raise NoTensorFloat32Error(found=torch.cuda.get_device_name(device), capability=capability)


def allow_tf32(*, allowed: bool) -> None:
    """Allow TF32 in products of fp32 tensors or not, whatever the environment sets: their time differs several-fold."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def settings() -> dict[str, str | None]:
    """Return the settings that are in effect, as torch gives them; None where this torch has no such setting."""
    precision = getattr(torch.backends.cuda.matmul, "fp32_precision", None)  # since torch 2.9
    return {
        "matmul.allow_tf32": str(torch.backends.cuda.matmul.allow_tf32).lower(),
        "matmul.fp32_precision": precision,
        "cudnn.allow_tf32": str(torch.backends.cudnn.allow_tf32).lower(),
    }
