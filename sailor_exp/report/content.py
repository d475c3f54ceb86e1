"""What there is to show of a sweep: the cells of its grid, each with the record that counts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sailor_exp.config.schema import GatherConfig
from sailor_exp.exporters.sailor.grid import PROFILE, State, Table
from sailor_exp.profiles.check.comparison import PredictionRow
from sailor_exp.profiles.layers.measurement import Memory, Samples, Statistics
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.provenance import Provenance
from sailor_exp.records.record import Record
from sailor_exp.report.drawing.figures import Figure, Quantity
from sailor_exp.units import GIB


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A record that has numbers: the same fields, none of them empty."""

    key: CellKey
    record: Record
    statistics: Statistics
    memory: Memory
    samples: Samples
    layers: Mapping[str, str]

    @property
    def gpu_bytes(self) -> float:
        """Memory that a rank was given."""
        return float(self.record.identity.gpu["memory_gb"]) * GIB


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that the page shows, and nothing about how.

    `records`: of each cell the record that counts, with the name of its file. `predictions`: from records of
    `profile=check`.
    """

    config: GatherConfig
    table: Table
    records: Mapping[CellKey, tuple[str, Record]]
    predictions: tuple[PredictionRow, ...]

    @property
    def title(self) -> str:
        return f"{self.config.model.name} on {self.config.gpu.name}"

    @property
    def tps(self) -> list[int]:
        return self.table.tps

    @property
    def microbatches(self) -> list[int]:
        return self.table.microbatches

    @cached_property
    def measured(self) -> dict[CellKey, Measured]:
        """Cells whose record has numbers, in the order of the grid."""
        return {key: found for key, (_, record) in self.records.items() if (found := _measured(key, record))}

    @cached_property
    def kinds(self) -> list[str]:
        """Kinds of parts, in the order of the model."""
        return list(dict.fromkeys(kind for cell in self.measured.values() for kind in cell.layers.values()))

    @cached_property
    def measured_microbatches(self) -> list[int]:
        """Microbatches that any cell has numbers of."""
        return sorted({key.mbs for key in self.measured})

    @property
    def provenance(self) -> dict[CellKey, Provenance]:
        return {key: record.provenance for key, (_, record) in self.records.items()}

    def grid(self) -> Iterator[CellKey]:
        """Every cell of the grid, row by row."""
        return (CellKey(tp, mbs) for tp in self.tps for mbs in self.microbatches)

    def state(self, key: CellKey) -> State:
        """Return how a cell ended."""
        return self.table.state(key)

    def figures(self, quantity: Quantity) -> dict[CellKey, Figure]:
        """Return a quantity of every cell that has it."""
        found = {key: quantity.of(key, cell.record) for key, cell in self.measured.items()}
        return {key: figure for key, figure in found.items() if figure is not None}


def content_of(
    config: GatherConfig,
    table: Table,
    records: Iterable[tuple[Path, Record]],
    predictions: Sequence[PredictionRow] = (),
) -> Content:
    """Return what a report of these records shows; records of other profiles and those that do not count stay aside."""
    counting = {path: key for key, path in table.records.items()}
    found = {
        counting[path]: (path.name, record)
        for path, record in records
        if path in counting and record.identity.profile == PROFILE
    }
    return Content(config=config, table=table, records=dict(sorted(found.items())), predictions=tuple(predictions))


def _measured(key: CellKey, record: Record) -> Measured | None:
    if record.statistics is None or record.memory is None or record.samples is None or record.layers is None:
        return None
    return Measured(
        key=key,
        record=record,
        statistics=record.statistics,
        memory=record.memory,
        samples=record.samples,
        layers=record.layers,
    )
