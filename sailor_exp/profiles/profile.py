"""The interface of a profile outside its ranks: one subclass in `profile.py` of each profile's folder, without torch.

Legend: S what one rank sends of a cell, M what a record of the profile holds (`measurement.py` or `part_bytes.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.grids import Grid
from sailor_exp.records.record import Record

S = TypeVar("S")
M = TypeVar("M")


class Column(NamedTuple):
    """A column of the table of results. Words align left, numbers right."""

    name: str
    side: Literal["left", "right"] = "right"


class Profile(ABC, Generic[S, M]):
    """Turns what ranks measured into the record, the files beside it, and what people see.

    `method`: number of the method of measuring. It rises when the same identity no longer gives the same numbers; then
    only records of this profile are measured again. `schema`: the type M. `keys`: the keys of CELL_KEYS that
    distinguish its cells; any other must have its default. `about_model`: whether the model and its training determine
    the numbers. `columns`, `legend`: of the table of results. `tidy_columns`: the columns of the tidy table that this
    profile fills, and their types.
    """

    name: ClassVar[str]
    method: ClassVar[int]
    schema: type[M]
    keys: ClassVar[tuple[str, ...]]
    about_model: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]]
    tidy_columns: ClassVar[Mapping[str, type]]
    legend: ClassVar[str]

    def faults(self, cell: Cell) -> list[str]:  # noqa: ARG002
        """Return the faults in the configuration of a cell of this profile, one sentence each."""
        return []

    def infeasibility(self, cell: Cell) -> str | None:  # noqa: ARG002
        """Return why such a cell cannot exist, beyond what holds for every profile; None if it can."""
        return None

    def options(self, cell: Cell) -> dict[str, Any] | None:  # noqa: ARG002
        """Return the part of the profile's own configuration that determines the numbers, as JSON types.

        A key that is added later must be left out at its default, or existing records change their identity.
        """
        return None

    @abstractmethod
    def measurement(self, cell: Cell, shares: Sequence[S]) -> M:
        """Return what the record holds. shares: what each rank measured, by rising rank."""

    def relative_half_width(self, measured: M) -> float | None:  # noqa: ARG002
        """Return the relative half-width of the interval; 0 for counts, which have no spread; None if unknown."""
        return 0.0

    def before_writing(self, record: Record[M], profile_dir: Path) -> None:
        """Update the files that depend on this record alone, before the record is written."""

    def written(self, record: Record[M], profile_dir: Path) -> None:
        """Update the other files from the records that exist now. Called for a reused record, too.

        Several processes may call it at once. Raises StorageError, LockError, RecordError.
        """

    @abstractmethod
    def one_line(self, measured: M) -> str:
        """Return the result in a few words."""

    @abstractmethod
    def rows(self, record: Record[M]) -> Iterator[list[str]]:
        """Return the rows of an ok record in the table of results, by `columns`."""

    @abstractmethod
    def tidy(self, measured: M) -> Iterator[Mapping[str, Any]]:
        """Return the rows of the tidy table, by `tidy_columns`; every number of the measurement is in one."""

    def grids(self, vm: int) -> list[Grid]:  # noqa: ARG002
        """Return the cells that readers of the profile need at least, for machines of `vm` GPUs."""
        return [{"tp": [1]}]
