"""The inputs of an exporter: the gathered database, measurements beside it, and files that other exports also write.

An input is read when an exporter asks for it. `unread` names the keys that a user gave and no exporter asked for.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pydantic import TypeAdapter

from sailor_exp.config.architecture import Kind, kinds_by_layer_id
from sailor_exp.config.parameter_bytes import planned_bytes_per_parameter
from sailor_exp.config.schema import ExporterConfig, GatherConfig, ModelConfig
from sailor_exp.errors import MissingCellError, MissingInputError
from sailor_exp.exporters.network.checkout import refuse_a_wrong_root
from sailor_exp.exporters.network.fits import Fit, Network, read_network
from sailor_exp.exporters.sailor.database import Database, Place, load
from sailor_exp.files import json_file
from sailor_exp.files.json_file import NotNegative, WholeKey, checked
from sailor_exp.files.lock import locked
from sailor_exp.profiles.advice import Advice, advice_of
from sailor_exp.profiles.layers.published import CellKey, LayerMemory, LayerTimes, fits_in_memory
from sailor_exp.units import GIB

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Extra(Generic[T]):
    """A file of measurements beside the database. `command` makes it; `key` is the option that gives its path."""

    path: Path
    command: str
    key: str
    content: T

    def missing(self, what: str) -> MissingInputError:
        """Return the error for content that the file lacks."""
        return MissingInputError(self.path, what=what, command=self.command, key=self.key)


class Inputs:
    """The inputs of the configured export.

    A context manager: at its entry it raises NotACheckoutError for a root beside a checkout of Sailor, at its exit it
    unlocks the shared files.
    """

    def __init__(self, config: GatherConfig) -> None:
        self.config = config
        self._asked: set[str] = set()
        self._held = ExitStack()
        self._locked = False

    def __enter__(self) -> Self:
        refuse_a_wrong_root(self.place.root)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()
        self._locked = False

    @property
    def model(self) -> ModelConfig:
        """The architecture: the number and the kinds of the layers. Sizes come from the database."""
        return self.config.model

    @property
    def gpu(self) -> str:
        return self.config.gpu.name

    @property
    def gpu_memory_bytes(self) -> int:
        return int(self.config.gpu.memory_gb * GIB)

    @property
    def gpus_per_vm(self) -> int:
        return self.config.vm.gpus

    @property
    def max_nodes(self) -> int:
        """The largest group in the files."""
        return int(self.option("max_nodes"))

    @property
    def bytes_per_parameter(self) -> int:
        """Bytes that the planners count for a parameter."""
        return planned_bytes_per_parameter(self.config.precision, self.config.optimizer)

    @property
    def place(self) -> Place:
        """The paths of the gathered files of the model and GPU."""
        return Place(root=Path(self.config.export_root), model=self.config.model.name, gpu=self.config.gpu.name)

    @property
    def advice(self) -> Advice:
        return advice_of(self.config)

    def shared(self, path: Path) -> dict[str, Any]:
        """Return the JSON of a file that other exports also write; empty where there is none.

        From the first call to the exit of the context, no other export reads or writes a shared file.
        Raises DamagedFileError, LockError, StorageError.
        """
        if not self._locked:
            self._held.enter_context(locked(self.place.lock))
            self._locked = True
        return json_file.read_object_if_there(path)

    def file(self, key: str) -> Path | None:
        """Return the path that a key of the exporter gives; None where it gives none."""
        path = self.option(key)
        return None if path is None else Path(path)

    def option(self, key: str) -> Any:
        """Return the value of a key of the exporter."""
        self._asked.add(key)
        return getattr(self.config.exporter, key)

    def unread(self) -> list[str]:
        """Return the keys of the exporter that differ from their defaults and that no exporter asked for."""
        defaults, given = asdict(ExporterConfig()), asdict(self.config.exporter)
        return [key for key in given if key not in {"name", *self._asked} and given[key] != defaults[key]]

    def extra(self, profile: str, read: Callable[[Path], T], key: str = "extra_file") -> Extra[T]:
        """Return the measurements of a profile for the exporter's planner.

        read: reads the file at a path. key: the key of the exporter that gives the path.
        Raises MissingInputError where there is no file, DamagedFileError for an unusable file.
        """
        key, command = f"exporter.{key}", self.advice.profile(profile)
        path = self.file(key.removeprefix("exporter.")) or Path(f"({key} is not given)")
        try:
            return Extra(path=path, command=command, key=key, content=read(path))
        except FileNotFoundError as error:
            what = f"the {profile} profile"
            raise MissingInputError(path, what=what, command=command, key=key) from error

    def network(self) -> Extra[Network]:
        """Return the fits of the GPU's links. Raises the errors of `extra`."""
        return self.extra("network", lambda path: read_network(path, self.gpu), "network_file")

    def overlap(self) -> Extra[dict[int, float]]:
        """Return the slowdown of computation under communication, by GPUs per VM. Raises the errors of `extra`."""

        def read(path: Path) -> dict[int, float]:
            coefficients = json_file.objects_in(path, json_file.read_object(path), self.gpu)
            return checked(path, coefficients, _COEFFICIENTS, self.gpu)

        return self.extra("overlap", read, "overlap_file")

    @cached_property
    def database(self) -> Database:
        """The gathered database of the model and GPU.

        Raises MissingInputError where nothing was gathered, DamagedFileError and LayerIdsError for unusable content.
        """
        return load(self.place, self.model, self.advice.gather())

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
        return sorted({key.tp for key in self.cells})

    @property
    def cells(self) -> list[CellKey]:
        """Measured cells, by microbatch."""
        return [CellKey(tp, mbs) for mbs, cells in self.database.times.items() for tp in cells]

    def times(self, *, tp: int, mbs: int) -> LayerTimes:
        """Return the times of a cell that the planner requires. Raises MissingCellError."""
        self.require([CellKey(tp, mbs)], "the planner cannot do without")
        return self.database.times[mbs][tp]

    def memory(self, *, tp: int) -> LayerMemory:
        """Return the memory at microbatch 1. Raises MissingCellError."""
        if tp not in self.database.memory:
            reason = f"the memory of {self.model.name} at that degree is read from it"
            raise self._missing(self.database.memory_path, [CellKey(tp, 1)], reason)
        return self.database.memory[tp]

    def require(self, cells: Iterable[CellKey], reason: str) -> None:
        """Raise MissingCellError if one of the cells was not measured."""
        missing = [key for key in cells if key.tp not in self.database.times.get(key.mbs, {})]
        if missing:
            raise self._missing(self.database.times_path, missing, reason)

    def require_whole_grid(self, tps: Iterable[int] | None = None) -> None:
        """Raise MissingCellError if a cell is lost: it fits, since a cell that needs more memory was measured.

        A planner compares cells and counts a lost one as impossible. Cells that exceed the memory are absent from
        every good grid. tps: the degrees that the planner reads; None for all.
        """
        measured = self.cells
        grid = [CellKey(tp, mbs) for mbs in self.database.times for tp in tps or self.tps]
        lost = [key for key in grid if fits_in_memory(key, measured)]
        self.require(lost, "cells that need more memory were measured, so it fits")

    def fit_between_machines(self, network: Extra[Network]) -> Fit:
        """Return the fit of as many concurrent pairs as a machine has GPUs. Raises MissingInputError."""
        if self.gpus_per_vm not in network.content.inter:
            raise self.missing_fit(network, "inter", self.gpus_per_vm)
        return network.content.inter[self.gpus_per_vm]

    def missing_fit(self, network: Extra[Network], scope: str, count: int) -> MissingInputError:
        """Return the error for a fit that the network file lacks."""
        what, command = f"{scope}.{self.gpu}.{count}", self.advice.fit(scope)
        return MissingInputError(network.path, what=what, command=command, key=network.key)

    def _missing(self, path: Path, cells: Iterable[CellKey], reason: str) -> MissingCellError:
        cells = list(cells)
        names = [f"the cell {key}" for key in cells]
        return MissingCellError(path, cells=names, reason=reason, command=self.advice.measure(cells))


_COEFFICIENTS: TypeAdapter[dict[int, float]] = TypeAdapter(dict[WholeKey, NotNegative])
