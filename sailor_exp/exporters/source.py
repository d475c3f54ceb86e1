"""What an exporter may read: the gathered database of one model and GPU, and what its planner needs besides."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sailor_exp.config.architecture import Kind, kinds_by_layer_id
from sailor_exp.config.schema import ModelConfig
from sailor_exp.errors import MissingCellError, MissingInputError
from sailor_exp.exporters.network.fits import Fit, Network
from sailor_exp.exporters.sailor.database import Database
from sailor_exp.profiles.advice import Advice
from sailor_exp.profiles.layers.published import LayerMemory, LayerTimes


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A file of measurements besides the database. `command` makes it."""

    path: Path
    command: str


@dataclass(frozen=True, kw_only=True)
class PeakMemory(Extra):
    """Varuna's extra: peak bytes of a model of one part alone, by microbatch, tp and layer id."""

    peak_bytes: Mapping[int, Mapping[int, Mapping[int, float]]]


@dataclass(frozen=True, kw_only=True)
class Activations(Extra):
    """Oobleck's extra: bytes that a layer keeps for its backward, by tp and layer id, at microbatch 1."""

    activation_bytes: Mapping[int, Mapping[int, float]]


@dataclass(frozen=True, kw_only=True)
class Strategies(Extra):
    """Galvatron's extra: MiB by strategy `{pp}_{tp}_{dp}` and `layernum[n]_bsz1_rank{r}_{ms|act|act_peak}`."""

    mebibytes: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Overlap(Extra):
    """Galvatron's slowdown of computation under communication, by GPUs per VM; 1 or more."""

    coefficients: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Everything that the exporters read. What a planner's registry entry does not name is None.

    `model` says how many layers there are and which is which; sizes come from the database alone.
    """

    model: ModelConfig
    gpu: str
    advice: Advice
    gpu_memory_bytes: int
    gpus_per_vm: int
    bytes_per_parameter: int
    max_nodes: int
    database: Database
    peaks: PeakMemory | None = None
    activations: Activations | None = None
    strategies: Strategies | None = None
    overlap: Overlap | None = None
    network: Network | None = None

    @property
    def kinds(self) -> dict[int, str]:
        """Kind of every layer id, in order."""
        return {int(layer): kind for layer, kind in kinds_by_layer_id(self.model).items()}

    @property
    def transformer_layers(self) -> list[int]:
        return [layer for layer, kind in self.kinds.items() if kind in {Kind.layer, Kind.layer_window}]

    @property
    def tps(self) -> list[int]:
        """Every tensor parallel degree that was measured at some microbatch."""
        return sorted({tp for cells in self.database.times.values() for tp in cells})

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Measured (tp, mbs), by microbatch."""
        return [(tp, mbs) for mbs, cells in self.database.times.items() for tp in cells]

    def times(self, *, tp: int, mbs: int) -> LayerTimes:
        """Times of a cell that the planner cannot do without. Raises MissingCellError."""
        self.require([(tp, mbs)], "the planner cannot do without")
        return self.database.times[mbs][tp]

    def memory(self, *, tp: int) -> LayerMemory:
        """Memory at microbatch 1. Raises MissingCellError."""
        if tp not in self.database.memory:
            reason = f"the memory of {self.model.name} at that degree is read from it"
            raise self._missing(self.database.memory_path, [(tp, 1)], reason)
        return self.database.memory[tp]

    def require(self, cells: Iterable[tuple[int, int]], reason: str) -> None:
        """Raise MissingCellError if one of the cells (tp, mbs) was not measured."""
        missing = [(tp, mbs) for tp, mbs in cells if tp not in self.database.times.get(mbs, {})]
        if missing:
            raise self._missing(self.database.times_path, missing, reason)

    def require_whole_grid(self, tps: Iterable[int] | None = None) -> None:
        """Raise MissingCellError if a cell is lost: one that needs no more memory than another that was measured.

        A planner compares cells; it would take a lost one for impossible. Cells beyond what memory holds are absent
        from every good grid. `tps`: the degrees that the planner reads, all of them unless given.
        """
        measured = self.cells
        grid = [(tp, mbs) for mbs in self.database.times for tp in tps or self.tps]
        lost = [(tp, mbs) for tp, mbs in grid if any(other <= tp and mbs <= larger for other, larger in measured)]
        self.require(lost, "cells that need more memory were measured, so it fits")

    def fit_between_machines(self) -> Fit:
        """Fit for as many concurrent pairs as a machine has GPUs. Raises MissingInputError."""
        network = present(self.network)
        if self.gpus_per_vm not in network.inter:
            raise self.missing_fit("inter", self.gpus_per_vm)
        return network.inter[self.gpus_per_vm]

    def missing_fit(self, scope: str, count: int) -> MissingInputError:
        """Return the error of a fit that is not in the network file."""
        return MissingInputError(
            present(self.network).path,
            what=f"{scope}.{self.gpu}.{count}",
            command=self.advice.fit(scope),
            key="exporter.network_file",
        )

    def _missing(self, path: Path, cells: Iterable[tuple[int, int]], reason: str) -> MissingCellError:
        cells = list(cells)
        named = [f"the cell tp={tp} mbs={mbs}" for tp, mbs in cells]
        return MissingCellError(path, cells=named, reason=reason, command=self.advice.measure(cells))


_Input = TypeVar("_Input")


def present(given: _Input | None) -> _Input:
    """Return an input that the exporter's registry entry asks for."""
    if given is None:
        raise TypeError("the exporter's registry entry does not name this input")
    return given
