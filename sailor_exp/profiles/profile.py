"""What a profile is to everything but its ranks: one subclass in `profile.py` of each profile's folder, without torch.

Legend: S is what one rank sends of a cell, M what a record of the profile holds (`measurement.py` has both).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from sailor_exp.config.schema import Cell
from sailor_exp.records.record import Record

S = TypeVar("S")
M = TypeVar("M")


def powers_up_to(gpus: int) -> list[int]:
    """Return the powers of two up to the GPUs of a machine, and these: degrees that a message advises."""
    return sorted({2**power for power in range(gpus.bit_length())} | {gpus})


class Column(NamedTuple):
    """A column of the table of results. Words stand to the left, numbers to the right."""

    name: str
    side: Literal["left", "right"] = "right"


class Profile(ABC, Generic[S, M]):
    """From what ranks measured to the record, to the files beside it, and to what people see.

    `method`: number of the method of measuring. It rises when the same identity no longer gives the same numbers, and
    then records of this profile alone are measured again. `schema`: the type M. `keys`: those of CELL_KEYS that tell
    its cells apart; any other must stay at its default. `about_model`: whether the model and how it is trained
    determine the numbers. `columns`, `legend`: of the table of results. `tidy_columns`: those of the tidy
    table that the numbers of this profile fill, and their types.
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
        """Return everything wrong with a cell of this profile that no measurement could mend, one sentence each."""
        return []

    def infeasibility(self, cell: Cell) -> str | None:  # noqa: ARG002
        """Return why there can be no such cell, beyond what holds for every profile; None where there can."""
        return None

    def options(self, cell: Cell) -> dict[str, Any] | None:  # noqa: ARG002
        """Return what of the profile's own configuration determines the numbers, as JSON types.

        A key that is added later must be left out at its default: it would orphan the records that are there.
        """
        return None

    @abstractmethod
    def measurement(self, cell: Cell, shares: Sequence[S]) -> M:
        """Return what the record holds. shares: what each rank measured, by rising rank."""

    def relative_half_width(self, measured: M) -> float | None:  # noqa: ARG002
        """Return that of the interval; 0 where what was counted has no spread, None where unknown."""
        return 0.0

    def before_writing(self, record: Record[M], profile_dir: Path) -> None:
        """Bring the files that are made from this record alone in line with it."""

    def written(self, record: Record[M], profile_dir: Path) -> None:
        """Bring the other files in line with the records that are there now. Called for a reused record, too.

        Several processes may do it at once. Raises StorageError, RecordError.
        """

    @abstractmethod
    def one_line(self, measured: M) -> str:
        """Return the result in a few words."""

    @abstractmethod
    def rows(self, record: Record[M]) -> Iterator[list[str]]:
        """Return the rows of an ok record in the table of results, by `columns`."""

    @abstractmethod
    def tidy(self, measured: M) -> Iterator[Mapping[str, Any]]:
        """Return the rows of the tidy table, by `tidy_columns`; every number of the measurement stands in one."""

    def advised_axes(self, vm: int) -> str:
        """Return the grid that a message advises: the cells without which a reader has no use for the profile."""
        return f"vm={vm} tp=1"
