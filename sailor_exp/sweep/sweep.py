"""Measures the cells of a grid: a cell with a result is not measured again, and every cell ends in a record.

Cells that differ only in the microbatch are a pack: one process group measures them one after another, smallest
first, so that they share one start-up, and out of memory settles the larger ones.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any, Protocol

from sailor_exp.config.schema import Cell, Device
from sailor_exp.errors import RefusedError
from sailor_exp.profiles.faults import infeasibility
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.registry import profile_of
from sailor_exp.records import provenance
from sailor_exp.records.files import prepare, write
from sailor_exp.records.provenance import DeviceFacts
from sailor_exp.records.record import Ending, Outcome, Record
from sailor_exp.sweep.logs import log_paths, remove, tail
from sailor_exp.sweep.machines import Machines, ThisMachine
from sailor_exp.sweep.messages import Cause, Measured, Message, Progress
from sailor_exp.sweep.rank_group import GroupEnd, fresh_processes, server
from sailor_exp.sweep.reuse import former, record_of, settled


class Display(Protocol):
    """Shows a sweep while it runs. Cells are identified by their place in the grid."""

    def running(self, cell: int, phase: str, steps: int) -> None:
        """Show the phase of a cell, and the number of steps in it."""

    def done(self, cell: int, outcome: Record[Any], *, reused: bool) -> None:
        """Show that a cell has its record."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A cell, its record, and whether the record existed before."""

    cell: Cell
    record: Record[Any]
    reused: bool


Neighbours = Callable[[], Mapping[str, str]]
"""Returns what shares the node with the job that this process runs in; called for each new record."""


def run(
    cells: Sequence[Cell], display: Display, machines: Machines | None = None, neighbours: Neighbours = dict
) -> list[Result]:
    """Measure cells pack by pack, equal cells once. Return the results in the order given.

    machines: where the groups run; by default this machine alone.

    Raises StorageError where a record cannot be written, RecordError where an existing one cannot be read,
    RankStartError and RefusedError where no rank can run here, RankHangsError where none can run any more.
    """
    sweep = Sweep(cells, display, machines, neighbours)
    for pack in packs(cells):
        sweep.run_pack(pack)
    results = sweep.results()
    for place in sweep.repeated():
        display.done(place, results[place].record, reused=True)
    return results


def assist(cells: Sequence[Cell], machines: Machines) -> None:
    """Run this machine's ranks of cells whose records the supervisor of another machine writes.

    Raises RankStartError, StorageError, RecordError.
    """
    for pack in packs(cells):
        waiting = [cells[place] for place in pack if not settled(cells[place])]
        if waiting:
            logs = log_paths(waiting[0], machines.log_tag)
            end = machines.run(server(waiting[0].gpu.device), waiting, logs, _ignore)
            if end is not None and end.death.cause is Cause.inherited_cuda:
                machines.run(fresh_processes(), waiting, logs, _ignore)


def _ignore(rank: int, message: Message) -> None:
    """Ignore a message: the supervisor on the first machine handles it."""


def packs(cells: Sequence[Cell]) -> list[list[int]]:
    """Return the places of cells that one process group can measure, by rising microbatch; equal cells appear once."""
    alike: dict[str, list[int]] = {}
    first = {repr(cell): place for place, cell in reversed(list(enumerate(cells)))}
    for place in sorted(first.values()):
        alike.setdefault(repr(replace(cells[place], mbs=0)), []).append(place)
    return [sorted(pack, key=lambda place: cells[place].mbs) for pack in alike.values()]


@dataclass
class _GroupState:
    """What the ranks of one group have sent so far, by the place of the cell in the group's list."""

    measured: dict[int, dict[int, Measured]] = field(default_factory=dict)
    complete: int = 0


class Sweep:
    """The cells of a grid and their results so far. Cells are identified by their place in the grid."""

    def __init__(
        self,
        cells: Sequence[Cell],
        display: Display,
        machines: Machines | None = None,
        neighbours: Neighbours = dict,
    ) -> None:
        self._cells = cells
        self._neighbours = neighbours
        self._machines = machines or ThisMachine()
        self._display = display
        self._results: dict[int, Result] = {}
        self._started_at = provenance.now()
        self._fresh: SpawnContext | None = None
        for directory in {Path(cell.profile_dir) for cell in cells}:
            prepare(directory)

    def results(self) -> list[Result]:
        """Return the results in the order of the cells; equal cells share one. Every cell must have its result."""
        by_cell = {repr(result.cell): result for result in self._results.values()}
        return [by_cell[repr(cell)] for cell in self._cells]

    def repeated(self) -> list[int]:
        """Return the places of cells that occur earlier in the grid."""
        return [place for place in range(len(self._cells)) if place not in self._results]

    def result(self, place: int) -> Result | None:
        """Return the result of one cell, or None while it has none."""
        return self._results.get(place)

    def waiting(self, pack: Sequence[int]) -> list[int]:
        """Return the places of a pack whose cells have no result yet."""
        return [place for place in pack if place not in self._results]

    def settle(self, pack: Sequence[int]) -> None:
        """Settle cells without ranks: infeasible, measured before, or larger than one that ran out of memory."""
        for place in pack:
            self._settle_without_ranks(place)
        self._skip_after_oom(pack)

    def run_pack(self, pack: Sequence[int]) -> None:
        """Settle cells without ranks, then start groups until every cell of the pack has its record."""
        self.settle(pack)
        while waiting := self.waiting(pack):
            self._run_group(waiting)
            self._skip_after_oom(pack)

    def keep(self, place: int, record: Record[Any]) -> None:
        """Take a new record as the result of a cell, also one that another process wrote."""
        self._results[place] = Result(cell=self._cells[place], record=record, reused=False)
        self._display.done(place, record, reused=False)

    def _settle_without_ranks(self, place: int) -> None:
        cell = self._cells[place]
        if (reason := infeasibility(cell)) is not None:
            self.finish(place, Outcome.infeasible, Ending(message=reason))
        elif (earlier := former(cell)) is not None and not cell.force:
            self._reuse(place, earlier)

    def _reuse(self, place: int, earlier: Record[Any]) -> None:
        profile_of(self._cells[place]).written(earlier, Path(self._cells[place].profile_dir))
        self._results[place] = Result(cell=self._cells[place], record=earlier, reused=True)
        self._display.done(place, earlier, reused=True)

    def _skip_after_oom(self, pack: Sequence[int]) -> None:
        out_of_memory = [
            self._cells[place].mbs
            for place in pack
            if place in self._results and self._results[place].record.outcome is Outcome.oom
        ]
        for place in pack:
            cell = self._cells[place]
            if place in self._results or not out_of_memory or not cell.skip_after_oom or cell.mbs < min(out_of_memory):
                continue
            message = f"mbs={min(out_of_memory)} ran out of memory (skip_after_oom=false measures all the same)"
            self.finish(place, Outcome.skipped, Ending(message=message))

    def _run_group(self, places: Sequence[int]) -> None:
        """Run one process group over the cells at `places`; at least the first of them ends in a record.

        There is one exception: where the server that forks the ranks has called CUDA, no cell ends, and the next group
        starts in fresh processes.
        """
        cells = [self._cells[place] for place in places]
        size = cells[0].ranks * cells[0].nodes
        state = _GroupState()
        self._started_at = provenance.now()

        def hear(rank: int, message: Message) -> None:
            if isinstance(message, Progress) and rank == 0:
                self._display.running(places[min(state.complete, len(places) - 1)], message.phase, message.steps)
            elif isinstance(message, Measured):
                state.measured.setdefault(message.cell, {})[rank] = message
                if len(state.measured[message.cell]) == size:
                    self._finish_measured(places[message.cell], state.measured.pop(message.cell))
                    state.complete += 1

        logs = log_paths(cells[0], self._machines.log_tag)
        end = self._machines.run(self._fresh or server(cells[0].gpu.device), cells, logs, hear)
        if end is not None and end.death.cause is Cause.refused:
            remove(logs)
            raise RefusedError(end.death.message)
        if end is not None and end.death.cause is Cause.inherited_cuda and self._fresh is None:
            warnings.warn(end.death.message, stacklevel=2)
            self._fresh = fresh_processes()
            return
        if end is None:
            remove(logs)
        elif state.complete < len(places):
            outcome = _outcome(end, logs, cells[0].gpu.device)
            self.finish(places[state.complete], outcome, _ending(end, logs))

    def _finish_measured(self, place: int, by_rank: dict[int, Measured]) -> None:
        cell = self._cells[place]
        ranks = [by_rank[rank] for rank in sorted(by_rank)]
        measurement = profile_of(cell).measurement(cell, [rank.share for rank in ranks])
        devices = [rank.device for rank in ranks]
        self._write(place, self._record(cell, Outcome.ok, devices=devices, measurement=measurement))

    def finish(self, place: int, outcome: Outcome, ending: Ending, slurm: Mapping[str, str] | None = None) -> None:
        """Write the record of a cell that has no numbers.

        slurm: the job in which the cell ended, if that is not the job that this process runs in.
        Raises StorageError.
        """
        cell = self._cells[place]
        unmeasured = self._record(cell, outcome, ending=ending, slurm=slurm)
        if (earlier := record_of(cell)) is not None and _repeats(earlier, unmeasured):
            self._reuse(place, earlier)
            return
        self._write(place, unmeasured)

    def _write(self, place: int, record: Record[Any]) -> None:
        cell = self._cells[place]
        directory = Path(cell.profile_dir)
        profile_of(cell).before_writing(record, directory)
        write(record, directory)
        profile_of(cell).written(record, directory)
        self.keep(place, record)
        self._started_at = provenance.now()

    def _record(
        self,
        cell: Cell,
        outcome: Outcome,
        *,
        devices: Sequence[DeviceFacts] = (),
        measurement: Any = None,
        ending: Ending | None = None,
        slurm: Mapping[str, str] | None = None,
    ) -> Record[Any]:
        job = {**provenance.slurm_job(), **self._neighbours()} if slurm is None else slurm
        schema: Any = profile_of(cell).schema
        return Record[schema](
            outcome=outcome,
            identity=identity_of(cell),
            ending=ending,
            measurement=measurement,
            provenance=provenance.gather(cell, devices, started_at=self._started_at, slurm=job),
        )


def _repeats(earlier: Record[Any], new: Record[Any]) -> bool:
    """Whether a new record of an outcome without ranks has the same ending as the one on disk."""
    without_ranks = new.outcome in {Outcome.infeasible, Outcome.skipped}
    return without_ranks and (earlier.outcome, earlier.ending) == (new.outcome, new.ending)


def _outcome(end: GroupEnd, logs: Sequence[Path], device: Device) -> Outcome:
    """Return the outcome of the cell at which a group ended; beside a GPU the machine's memory is no result."""
    if end.timed_out:
        return Outcome.timeout
    aborted = end.death.signal == "SIGABRT" and end.rank is not None and device is Device.cpu
    if end.death.cause is Cause.out_of_memory or (aborted and "bad_alloc" in tail(logs[end.rank or 0])):
        return Outcome.oom
    return Outcome.failed


def _ending(end: GroupEnd, logs: Sequence[Path]) -> Ending:
    log = logs[end.rank] if end.rank is not None and logs[end.rank].exists() else None
    return Ending(
        message=end.death.message,
        phase=end.death.phase,
        rank=end.rank,
        signal=end.death.signal,
        log=str(log) if log else None,
    )
