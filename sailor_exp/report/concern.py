"""A concern about the numbers, and the words and commands that all concerns use."""

import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sailor_exp.profiles.advice import advice_of
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.report.content import Content

_NAMED_CELLS = 6


class Weight(StrEnum):
    """Whether numbers are missing, doubtful, or only to be read with care."""

    missing = "missing"
    doubtful = "doubtful"
    note = "note"


@dataclass(frozen=True, kw_only=True)
class Concern:
    """One limit on the use of the numbers. `command` removes it, where a command can; `details` are one line each."""

    weight: Weight
    title: str
    remedy: str
    details: tuple[str, ...] = ()
    command: str | None = None


def measure_command(content: Content, cells: Collection[CellKey], *overrides: str) -> str:
    """Return the command that measures cells of this report, into the directory of its records."""
    config = content.config
    usual_dir = f"outputs/{config.model.name}/{config.gpu.name}"
    place = [] if config.profile_dir == usual_dir else [f"profile_dir={shlex.quote(config.profile_dir)}"]
    return " ".join([advice_of(config).measure(cells), *place, *overrides])


def named(cells: Iterable[CellKey]) -> str:
    """Return the names of the first cells, and the number of the others."""
    names = [str(key) for key in dict.fromkeys(cells)]
    rest = f" and {len(names) - _NAMED_CELLS} more" if len(names) > _NAMED_CELLS else ""
    return ", ".join(names[:_NAMED_CELLS]) + rest


def counted(cells: Collection[CellKey]) -> str:
    """Return the number of the cells as text: `3 cells`."""
    return cells_of(len(cells))


def cells_of(count: int) -> str:
    """Return a number of cells as text: `3 cells`."""
    return "1 cell" if count == 1 else f"{count} cells"


def were(cells: Collection[CellKey]) -> str:
    """Return the verb for the cells: `was` or `were`."""
    return "was" if len(cells) == 1 else "were"
