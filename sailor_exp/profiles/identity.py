"""What makes two cells the same measurement."""

from collections.abc import Sequence

from sailor_exp.config.schema import CELL_KEYS, Cell, plain
from sailor_exp.profiles.registry import profile_of
from sailor_exp.records.identity import METHOD, Identity

_GPU_KEYS = ("name", "device", "backend", "memory_gb")

_ABOUT_MODEL = ("model", "precision", "optimizer", "attention")


def identity_of(cell: Cell) -> Identity:
    """Everything of a cell's configuration that determines its numbers."""
    profile, content = profile_of(cell), plain(cell)
    return Identity(
        method=METHOD,
        profile=profile.name,
        gpu={key: content["gpu"][key] for key in _GPU_KEYS},
        options=profile.options(cell),
        **{key: content[key] if profile.about_model else None for key in _ABOUT_MODEL},
        **{key: content[key] if key in profile.keys else None for key in CELL_KEYS},
    )


def label(cell: Cell) -> str:
    """Name a cell for people: `gpt-tiny CPU tp=1 mbs=2`."""
    return " ".join([subject(cell), cell.gpu.name, *(f"{key}={value}" for key, value in cell_keys(cell).items())])


def subject(cell: Cell) -> str:
    """Name of the model that is measured, or of the profile where it knows none."""
    profile = profile_of(cell)
    return cell.model.name if profile.about_model else profile.name


def cell_keys(cell: Cell) -> dict[str, int]:
    """What tells the cell from others of its profile and model, of CELL_KEYS."""
    return {key: getattr(cell, key) for key in CELL_KEYS if key in profile_of(cell).keys}


def keys_of(cells: Sequence[Cell]) -> list[str]:
    """Keys that tell the cells of a grid apart, in the order of CELL_KEYS."""
    used = {key for cell in cells for key in cell_keys(cell)}
    return [key for key in CELL_KEYS if key in used]
