"""The task of a rank, and its messages to its supervisor. No torch is imported here: both sides import this module."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from sailor_exp.config.schema import Cell
from sailor_exp.records.provenance import DeviceFacts


class Cause(IntEnum):
    """Why a rank ended early. Where ranks differ, the lowest cause is the real one, and the others follow from it.

    `inherited_cuda`: the rank was forked from a process that had called CUDA; it can be started in another way.
    `refused`: the machine does not fit the configuration; no cell of the sweep can be measured on it.
    """

    inherited_cuda = -1
    refused = 0
    out_of_memory = 1
    signal = 2
    error = 3
    lost_peer = 4


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The rank is in a phase, and has done this number of steps in it."""

    phase: str
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Death:
    """The rank ended early."""

    cause: Cause
    message: str
    phase: str | None = None
    signal: str | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The rank has measured the cell at this place of its list: its device, and the share that its profile sends."""

    cell: int
    device: DeviceFacts
    share: Any


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The rank has measured all its cells."""


Message = Progress | Death | Measured | Finished


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task of one process group: its cells are equal except for the microbatch.

    init_method: of torch.distributed, which no other group has used. first_rank: the first one on this machine; `logs`
    has a path for each rank on this machine.
    """

    cells: Sequence[Cell]
    init_method: str
    logs: Sequence[Path]
    first_rank: int = 0
