"""What a rank tells the process that supervises it. No torch here: both sides import this."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from sailor_exp.config.schema import Cell
from sailor_exp.records.provenance import DeviceFacts


class Cause(IntEnum):
    """Why a rank ended early. Where ranks differ, the lowest is the cause and the others its consequences.

    `inherited_cuda`: the rank was forked from a process that had called CUDA; it can be started in another way.
    `refused`: the machine is not what was asked for; no cell of the sweep can be measured on it.
    """

    inherited_cuda = -1
    refused = 0
    out_of_memory = 1
    signal = 2
    error = 3
    lost_peer = 4


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The rank is in a phase, and has done so many steps in it."""

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
    """The rank is done with the cell at this place of its list: on which device, and what its profile sends."""

    cell: int
    device: DeviceFacts
    share: Any


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The rank is done with all its cells."""


Message = Progress | Death | Measured | Finished


@dataclass(frozen=True, kw_only=True)
class Task:
    """The cells of one process group: equal but for the microbatch.

    init_method: of torch.distributed, where no other group has met. first_rank: of those that this machine runs;
    `logs` has a path for each of these.
    """

    cells: Sequence[Cell]
    init_method: str
    logs: Sequence[Path]
    first_rank: int = 0
