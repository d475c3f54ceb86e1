"""What makes two cells the same measurement."""

from sailor_exp.config import Cell, plain
from sailor_exp.record import METHOD, Identity

_GPU_KEYS = ("name", "device", "backend", "memory_gb")


def identity_of(cell: Cell) -> Identity:
    """Everything of a cell's configuration that determines its numbers."""
    content = plain(cell)
    return Identity(
        method=METHOD,
        profile=cell.profile.name,
        model=content["model"],
        gpu={key: content["gpu"][key] for key in _GPU_KEYS},
        tp=cell.tp,
        mbs=cell.mbs,
        precision=cell.precision.value,
        optimizer=cell.optimizer.value,
        attention=cell.attention.value,
    )
