"""What a profile is to everything but its ranks: torch-free, one subclass in `sailor_exp/results/` each."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sailor_exp.config.schema import Cell
from sailor_exp.records.record import Record


class Profile(ABC):
    """From what ranks measured to the record, to files that stand beside it, and to what people see.

    `keys`: those of record.CELL_KEYS that tell its cells apart; any other must stay at its default.
    `about_model`: whether the model and how it is trained determine the numbers.
    `columns`, `legend`: of the table of results; names of numbers stand to the right.
    """

    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    about_model: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]]
    legend: ClassVar[str]

    def faults(self, cell: Cell) -> list[str]:  # noqa: ARG002
        """Everything wrong with a cell of this profile that no measurement could mend, one sentence each."""
        return []

    def infeasibility(self, cell: Cell) -> str | None:  # noqa: ARG002
        """Why there can be no such cell, beyond what holds for every profile; None where there can."""
        return None

    def options(self, cell: Cell) -> dict[str, Any] | None:  # noqa: ARG002
        """Return what of the profile's own configuration determines the numbers, as JSON types."""
        return None

    @abstractmethod
    def content(self, cell: Cell, ranks: Sequence[Any]) -> dict[str, Any]:
        """Return what an ok record has of its optional fields. ranks: what each rank measured, in rising order."""

    def relative_half_width(self, record: Record) -> float | None:  # noqa: ARG002
        """Return that of the interval of an ok record; 0 where what was counted has no spread, None where unknown."""
        return 0.0

    def before_writing(self, record: Record, profile_dir: Path) -> None:  # noqa: B027
        """Bring the files that are made from this record alone in line with it."""

    def written(self, record: Record, profile_dir: Path) -> None:  # noqa: B027
        """Bring the other files in line with the records that are there now. Called for one that is used again, too.

        Several processes may do it at once. Raises StorageError, RecordError.
        """

    @abstractmethod
    def one_line(self, record: Record) -> str:
        """Return the result of an ok record in a few words."""

    @abstractmethod
    def rows(self, record: Record) -> Iterator[list[str]]:
        """Rows of an ok record in the table of results, by `columns`."""
