"""Runs the ranks of a group: all of them on this machine, or this machine's part of a group on several machines.

A group on several machines has a supervisor on each, and the supervisors share a directory. Each one writes there how
its ranks ended and what they measured; the first one reads all of it, and writes the record. So the record has the
cause of an end on any machine: the ranks of the other machines have only lost a peer.
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
"""Seconds that a supervisor waits for the others' reports after its own ranks ended: shared file systems lag."""

_LOOK_EVERY_S = 0.2

Context = ForkServerContext | SpawnContext
Hear = Callable[[int, Message], None]


class Machines(Protocol):
    """The machines that a group runs on."""

    @property
    def log_tag(self) -> str:
        """End of the names of a group's logs, which is different for every group."""

    def run(self, context: Context, cells: Sequence[Cell], logs: Sequence[Path], hear: Hear) -> GroupEnd | None:
        """Run one group over cells to its end; return None where all its ranks finished.

        hear: is called for every message, with its rank. Raises RankStartError.
        """


class ThisMachine:
    """Runs all ranks here, also those that stand for another machine's: on a CPU, over the loopback."""

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
    """A supervisor's report to the others: how its ranks ended, and what they measured, as (rank, message) pairs."""

    end: GroupEnd | None
    measured: tuple[tuple[int, Measured], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """A task's place among the tasks of its job, and the address at which the first task listens."""

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int

    @property
    def init_method(self) -> str:
        """The `init_method` of torch.distributed.init_process_group."""
        return f"tcp://{self.address}:{self.port}"


class SeveralMachines:
    """Runs this machine's ranks of a group on several machines, with as many ranks on each; they meet at the first.

    directory: of this job alone, on a file system that all machines share.
    """

    def __init__(self, place: Rendezvous, directory: Path, job: str, heard_within_s: float = HEARD_WITHIN_S) -> None:
        self._place = place
        self._directory = directory
        self._job = job
        self._heard_within_s = heard_within_s
        self._path(place.rank).unlink(missing_ok=True)

    @property
    def first(self) -> bool:
        """Whether this machine's supervisor writes the record."""
        return self._place.rank == 0

    @property
    def log_tag(self) -> str:
        return f"job{self._job}"

    def run(self, context: Context, cells: Sequence[Cell], logs: Sequence[Path], hear: Hear) -> GroupEnd | None:
        """Run the ranks of this machine; on the first machine, also pass on the reports of the others to `hear`."""
        measured: list[tuple[int, Measured]] = []

        def hear_own(rank: int, message: Message) -> None:
            if isinstance(message, Measured):
                measured.append((rank, message))
            hear(rank, message)

        ranks = cells[0].ranks
        first_rank = self._place.rank * ranks
        task = Task(
            cells=cells,
            init_method=self._place.init_method,
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
            return end  # the caller starts these ranks again; those of the other machines wait for them
        self.tell(Told(end=end, measured=tuple(measured)))
        return self.joined(end, hear) if self.first else end

    def tell_error(self, error: Exception) -> None:
        """Report the error that ended the supervisor here. Raises StorageError."""
        death = Death(cause=Cause.error, message=f"{type(error).__name__}: {error}")
        self.tell(Told(end=GroupEnd(death=death, rank=None)))

    def tell(self, report: Told) -> None:
        """Write the report of this machine for the others. Raises StorageError."""
        write_whole(self._path(self._place.rank), pickle.dumps(report))

    def joined(self, end: GroupEnd | None, hear: Hear) -> GroupEnd | None:
        """Pass on the messages of the other machines' ranks, and return the end that explains all others."""
        ends = [] if end is None else [end]
        for other in self._others():
            report = self._wait_for_report(other)
            for rank, message in report.measured:
                hear(rank, message)
            ends += [] if report.end is None else [report.end]
        return min(ends, key=_explains) if ends else None

    def _wait_for_report(self, other: int) -> Told:
        deadline = time.monotonic() + self._heard_within_s
        while (report := self._report(other)) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        message = f"machine {other} did not say within {self._heard_within_s:g} s how its ranks ended"
        return report or Told(end=GroupEnd(death=Death(cause=Cause.error, message=message), rank=None))

    def _abandoned(self) -> bool:
        return any((report := self._report(other)) is not None and report.end is not None for other in self._others())

    def _others(self) -> list[int]:
        return [other for other in range(self._place.world_size) if other != self._place.rank]

    def _report(self, other: int) -> Told | None:
        try:
            report = pickle.loads(self._path(other).read_bytes())  # noqa: S301 - written by this job
        except FileNotFoundError:
            return None
        assert isinstance(report, Told)  # noqa: S101
        return report

    def _path(self, machine: int) -> Path:
        return self._directory / f"{self._job}_machine{machine}.pickle"


def _explains(end: GroupEnd) -> tuple[float, int]:
    """Return the sort key of an end among machines: a silence explains less than an error, more than a lost peer."""
    between = (Cause.error + Cause.lost_peer) / 2
    return between if end.timed_out else float(end.death.cause), -1 if end.rank is None else end.rank
