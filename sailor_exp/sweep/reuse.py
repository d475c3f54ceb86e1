"""Returns the record that settles a cell already, so that the cell is not measured again."""

from collections.abc import Sequence
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

    Raises RecordError where the cell's record cannot be read.
    """
    return infeasibility(cell) is not None or (former(cell) is not None and not cell.force)


def record_path(cell: Cell) -> Path:
    """Return the path of a cell's record, which may not exist yet."""
    return records_directory(Path(cell.profile_dir)) / identity_of(cell).file_name


def first_places(cells: Sequence[Cell]) -> list[int]:
    """Return the places of the cells that have a record of their own: a later cell with the same record is left out."""
    first: dict[Path, int] = {}
    for place, cell in enumerate(cells):
        first.setdefault(record_path(cell), place)
    return list(first.values())


def record_of(cell: Cell) -> Record[Any] | None:
    """Return the record of a cell, or None where there is none. Raises RecordError for one that cannot be read."""
    path = record_path(cell)
    return read(path, profile_of(cell).schema) if path.exists() else None


def former(cell: Cell) -> Record[Any] | None:
    """Return the record that settles the cell already: out of memory, or a measurement as good as the cell asks for.

    Raises RecordError where the cell's record cannot be read.
    """
    earlier = record_of(cell)
    if earlier is None or earlier.outcome not in {Outcome.ok, Outcome.oom}:
        return None
    return earlier if earlier.outcome is Outcome.oom or _good_enough(earlier, cell) else None


def _good_enough(former: Record[Any], cell: Cell) -> bool:
    """Whether a measurement has the interval that is asked for, or had as many steps and seconds to reach it."""
    asked, recorded = cell.sampling, former.provenance.sampling
    width = profile_of(cell).relative_half_width(former.measured)
    if width is not None and width <= sampling_target(cell):
        return True
    limits = (recorded["max_steps"] >= asked.max_steps, recorded["budget_s"] >= asked.budget_s)
    return all(limits) and bool(recorded["target"] <= sampling_target(cell))
