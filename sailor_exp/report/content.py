"""The data of the report: the cells of the grid, each with the record that counts."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sailor_exp.config.schema import GatherConfig
from sailor_exp.errors import SailorExpError
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.sailor.accuracy import CheckedCell, agreeing_cells
from sailor_exp.exporters.sailor.exporter import measured_grid
from sailor_exp.exporters.sailor.grid import PROFILE, Grid
from sailor_exp.profiles.layers.measurement import LayersMeasurement, Memory, Samples, Statistics
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.files import read_all
from sailor_exp.records.provenance import Provenance
from sailor_exp.records.record import Outcome, Record
from sailor_exp.report.drawing.figures import Figure, Quantity
from sailor_exp.units import GIB


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A cell with numbers, and the ok record that holds them."""

    key: CellKey
    record: Record[LayersMeasurement]

    @property
    def statistics(self) -> Statistics:
        return self.record.measured.statistics

    @property
    def memory(self) -> Memory:
        return self.record.measured.memory

    @property
    def samples(self) -> Samples:
        return self.record.measured.samples

    @property
    def layers(self) -> Mapping[str, str]:
        """Every layer id of the model, with the kind of the part that represents it."""
        return self.record.measured.layers

    @property
    def gpu_bytes(self) -> float:
        """Memory limit of a rank."""
        return float(self.record.identity.gpu["memory_gb"]) * GIB


@dataclass(frozen=True, kw_only=True)
class Content:
    """All data that the page shows, without its layout.

    `records`: by cell, the record that counts and the name of its file. `checked`: cells with real training steps,
    from records of `profile=check`.
    """

    config: GatherConfig
    grid: Grid
    records: Mapping[CellKey, tuple[str, Record[LayersMeasurement]]]
    checked: tuple[CheckedCell, ...]

    @property
    def title(self) -> str:
        return f"{self.config.model.name} on {self.config.gpu.name}"

    @property
    def tps(self) -> list[int]:
        return self.grid.tps

    @property
    def microbatches(self) -> list[int]:
        return self.grid.microbatches

    @cached_property
    def measured(self) -> dict[CellKey, Measured]:
        """Cells whose record has numbers, in the order of the grid."""
        ok = {key: record for key, (_, record) in self.records.items() if record.outcome is Outcome.ok}
        return {key: Measured(key=key, record=record) for key, record in ok.items()}

    @cached_property
    def kinds(self) -> list[str]:
        """Kinds of parts, in the order of the model."""
        return list(dict.fromkeys(kind for cell in self.measured.values() for kind in cell.layers.values()))

    @cached_property
    def measured_microbatches(self) -> list[int]:
        """Microbatches of the cells with numbers."""
        return sorted({key.mbs for key in self.measured})

    @property
    def provenance(self) -> dict[CellKey, Provenance]:
        return {key: record.provenance for key, (_, record) in self.records.items()}

    def cells(self) -> Iterator[CellKey]:
        """Return every cell of the grid, row by row."""
        return (CellKey(tp, mbs) for tp in self.tps for mbs in self.microbatches)

    def outcome(self, key: CellKey) -> Outcome | None:
        """Return the outcome of a cell; None where it has neither a record nor a profile file."""
        return self.grid.outcome(key)

    def figures(self, quantity: Quantity) -> dict[CellKey, Figure]:
        """Return the figures of a quantity, by the cells that have it."""
        figures = {key: quantity.of(key, cell.record) for key, cell in self.measured.items()}
        return {key: figure for key, figure in figures.items() if figure is not None}


def content_of(inputs: Inputs) -> Content:
    """Return the data of the report on the configured model and GPU, without the records that do not count.

    Raises the errors of `measured_grid`.
    """
    records = list(read_all(Path(inputs.config.profile_dir), PROFILE, LayersMeasurement))
    grid = measured_grid(inputs, records)
    key_of = {path: key for key, path in grid.records.items()}
    counting = {key_of[path]: (path.name, record) for path, record in records if path in key_of}
    return Content(
        config=inputs.config, grid=grid, records=dict(sorted(counting.items())), checked=_checked(inputs.config)
    )


def _checked(config: GatherConfig) -> tuple[CheckedCell, ...]:
    """Return the cells with real training steps; none, and a warning, where a check is at fault.

    A fault in the checks does not stop the page of the profile.
    """
    try:
        return tuple(agreeing_cells(config))
    except SailorExpError as error:
        warnings.warn(f"the page shows no training steps: {error}", stacklevel=3)
        return ()
