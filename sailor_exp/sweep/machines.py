"""Runs the ranks of a group: all of them here, or those of this machine, beside the supervisors of other machines.

Where a group spans machines, each has a supervisor, and they share a directory. A supervisor tells there how its ranks
ended and what they measured; the first one hears it, and makes the record. So the cause of an end is known wherever it
was: the ranks of the other machines have only lost a peer.
"""

import os
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Protocol

from sailor_exp.config.schema import Cell
from sailor_exp.files.whole import write_whole
from sailor_exp.records import provenance
from sailor_exp.sweep.messages import Cause, Death, Measured, Message, Task
from sailor_exp.sweep.rank_group import GroupEnd, RankGroup, run_rank

HEARD_WITHIN_S = 60.0
"""How long after its own ranks' end a supervisor waits for the others' word: file systems that nodes share lag."""

_LOOK_EVERY_S = 0.2

Context = ForkServerContext | SpawnContext

Hear = Callable[[int, Message], None]


class Machines(Protocol):
    """The machines that a group runs on."""

    @property
    def log_tag(self) -> str:
        """What ends the names of the logs of a group, so that no other group has the same."""

    def run(self, context: Context, cells: Sequence[Cell], logs: Sequence[Path], hear: Hear) -> GroupEnd | None:
        """Run one group over cells to its end; None where all its ranks finished. `hear`: every rank's messages.

        Raises RankStartError.
        """


class ThisMachine:
    """All ranks are here, also those that stand for another machine's: on a CPU, over the loopback."""

    @property
    def log_tag(self) -> str:
        return f"{provenance.now().replace(':', '')}_{os.getpid()}"

    def run(self, context: Context, cells: Sequence[Cell], logs: Sequence[Path], hear: Hear) -> GroupEnd | None:
        _warn_of_standing_for_others(cells[0])
        with tempfile.TemporaryDirectory(prefix="sailor-exp-") as directory:
            task = Task(cells=cells, init_method=f"file://{Path(directory) / 'rendezvous'}", logs=logs)
            group = RankGroup(context, len(logs), stall_s=cells[0].stall_s, on_message=hear)
            return group.run(run_rank, task)


def _warn_of_standing_for_others(cell: Cell) -> None:
    if cell.nodes > 1:
        warnings.warn(
            f"nodes={cell.nodes}, and this is one machine, which stands for all of them: the link is the loopback, "
            "and its numbers are of this machine's memory",
            stacklevel=2,
        )


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a supervisor tells the others: how its ranks ended, and by cell and rank what they measured."""

    end: GroupEnd | None
    measured: tuple[tuple[int, Measured], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """A task's place among the tasks of its job, and the address where the first of them listens."""

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int

    @property
    def init_method(self) -> str:
        """Return the `init_method` of torch.distributed.init_process_group."""
        return f"tcp://{self.address}:{self.port}"


class SeveralMachines:
    """One machine's ranks of a group that has as many on each of several, which meet at the first.

    directory: of this job alone, on a file system that all of them see.
    """

    def __init__(self, met: Rendezvous, directory: Path, job: str, heard_within_s: float = HEARD_WITHIN_S) -> None:
        self._met = met
        self._directory = directory
        self._job = job
        self._heard_within_s = heard_within_s
        self._path(met.rank).unlink(missing_ok=True)

    @property
    def first(self) -> bool:
        """Whether this machine's supervisor makes the record."""
        return self._met.rank == 0

    @property
    def log_tag(self) -> str:
        return f"job{self._job}"

    def run(self, context: Context, cells: Sequence[Cell], logs: Sequence[Path], hear: Hear) -> GroupEnd | None:
        """Run the ranks that belong here; on the first machine, hear and join what the others tell."""
        measured: list[tuple[int, Measured]] = []

        def hear_own(rank: int, message: Message) -> None:
            if isinstance(message, Measured):
                measured.append((rank, message))
            hear(rank, message)

        ranks = cells[0].ranks
        first_rank = self._met.rank * ranks
        task = Task(
            cells=cells,
            init_method=self._met.init_method,
            logs=logs[first_rank : first_rank + ranks],
            first_rank=first_rank,
        )
        group = RankGroup(
            context,
            ranks,
            stall_s=cells[0].stall_s,
            on_message=hear_own,
            first_rank=first_rank,
            abandoned=self._abandoned,
        )
        end = group.run(run_rank, task)
        if end is not None and end.death.cause is Cause.inherited_cuda:
            return end  # its ranks are started again; those of the other machines wait for them
        self.tell(Told(end=end, measured=tuple(measured)))
        return self.joined(end, hear) if self.first else end

    def tell_error(self, error: Exception) -> None:
        """Say that the supervisor here could not go on."""
        death = Death(cause=Cause.error, message=f"{type(error).__name__}: {error}")
        self.tell(Told(end=GroupEnd(death=death, rank=None)))

    def tell(self, told: Told) -> None:
        """Say how the ranks here ended. Raises StorageError."""
        write_whole(self._path(self._met.rank), pickle.dumps(told))

    def joined(self, end: GroupEnd | None, hear: Hear) -> GroupEnd | None:
        """Hear the ranks of the other machines; returns the end that explains the others."""
        ends = [] if end is None else [end]
        for other in self._others():
            told = self._heard(other)
            for rank, message in told.measured:
                hear(rank, message)
            ends += [] if told.end is None else [told.end]
        return min(ends, key=_explains) if ends else None

    def _heard(self, other: int) -> Told:
        deadline = time.monotonic() + self._heard_within_s
        while (told := self._told_by(other)) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        message = f"machine {other} did not say within {self._heard_within_s:g} s how its ranks ended"
        return told or Told(end=GroupEnd(death=Death(cause=Cause.error, message=message), rank=None))

    def _abandoned(self) -> bool:
        return any((told := self._told_by(other)) is not None and told.end is not None for other in self._others())

    def _others(self) -> list[int]:
        return [other for other in range(self._met.world_size) if other != self._met.rank]

    def _told_by(self, other: int) -> Told | None:
        try:
            told = pickle.loads(self._path(other).read_bytes())  # noqa: S301 - written by this job
        except FileNotFoundError:
            return None
        assert isinstance(told, Told)  # noqa: S101
        return told

    def _path(self, machine: int) -> Path:
        return self._directory / f"{self._job}_machine{machine}.pickle"


def _explains(end: GroupEnd) -> tuple[float, int]:
    """Rank of an end among those of several machines: a silence explains no more than a lost peer does."""
    between = (Cause.error + Cause.lost_peer) / 2
    return between if end.timed_out else float(end.death.cause), -1 if end.rank is None else end.rank
