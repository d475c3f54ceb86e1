"""Which record settles a cell already, so that it is not measured again."""

from pathlib import Path
from typing import Any

from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.profiles.faults import infeasibility
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.registry import profile_of
from sailor_exp.records.files import read, records_directory
from sailor_exp.records.record import Outcome, Record


def settled(cell: Cell) -> bool:
    """Whether a sweep has nothing to measure for the cell.

    Raises RecordError where the record that is there cannot be read.
    """
    return infeasibility(cell) is not None or (not cell.force and former(cell) is not None)


def record_path(cell: Cell) -> Path:
    """Return where the record of a cell is, or will be."""
    return records_directory(Path(cell.profile_dir)) / identity_of(cell).file_name


def record_of(cell: Cell) -> Record[Any] | None:
    """Return the record of a cell, None where there is none. Raises RecordError for one that cannot be read."""
    path = record_path(cell)
    return read(path, profile_of(cell).schema) if path.exists() else None


def former(cell: Cell) -> Record[Any] | None:
    """Return the record that settles the cell already: out of memory, or a measurement as good as is asked for.

    Raises RecordError where the record that is there cannot be read.
    """
    earlier = record_of(cell)
    if earlier is None or earlier.outcome not in {Outcome.ok, Outcome.oom}:
        return None
    return earlier if earlier.outcome is Outcome.oom or _good_enough(earlier, cell) else None


def _good_enough(former: Record[Any], cell: Cell) -> bool:
    """Whether a measurement is within the asked interval, or was given as much as is asked to get there."""
    asked, given = cell.sampling, former.provenance.sampling
    width = profile_of(cell).relative_half_width(former.measured)
    if width is not None and width <= sampling_target(cell):
        return True
    limits = (given["max_steps"] >= asked.max_steps, given["budget_s"] >= asked.budget_s)
    return all(limits) and bool(given["target"] <= sampling_target(cell))
