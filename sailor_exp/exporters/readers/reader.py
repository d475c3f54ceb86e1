"""What a planner opens, what it asks for, and how an answer looks.

A module beside this one says it of one planner, as its code stands in eth-easl/sailor at cf2c8e3. Its plans go through
sailor/Planner/simulations/simulator.py, whose files are in simulator.py and bandwidths.py here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sailor_exp.errors import DamagedFileError, LayerIdsError, MixedShapesError, SailorExpError
from sailor_exp.exporters.readers.commands import Commands
from sailor_exp.files import json_file
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.layers.published import CellKey, memory_by_tp_in
from sailor_exp.records.files import read_all
from sailor_exp.records.record import Outcome

if TYPE_CHECKING:
    from sailor_exp.exporters.inputs import Inputs

NODES = (1, 2, 4, 8, 16, 32)
"""Numbers of VMs that planners are asked about."""


class State(StrEnum):
    """State of a file, or of one thing in it that a reader asks for.

    `maybe`: it is absent, and that may be right, since it may not fit into memory.
    """

    ready = "ready"
    missing = "missing"
    damaged = "damaged"
    other_model = "other model"
    lacks = "lacks"
    maybe = "maybe"
    unchecked = "not checked"


@dataclass(frozen=True, kw_only=True)
class Hole:
    """Something that a reader asks for and does not find in a file.

    `command`: fills it; None for the command that makes the file. `by_hand`: no command fills it. `nodes`: the fewest
    VMs with which it is asked for. `otherwise`: what to do instead, for the one who exports.
    """

    text: str
    command: str | None = None
    by_hand: bool = False
    nodes: int = 1
    state: State = State.lacks
    otherwise: str = ""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that a reader opens.

    `command`: makes it. `holes`: of its content; raises DamagedFileError, LayerIdsError, MixedShapesError. `merged`:
    whether the command merges into it, and so refuses what is damaged or of another model.
    """

    path: Path
    command: str
    holes: Callable[[bytes], Iterator[Hole]]
    merged: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of a file. `command`: what makes it ready; None where nothing does or nothing needs to."""

    path: Path
    state: State
    text: str = ""
    command: str | None = None
    nodes: int = 1
    otherwise: str = ""

    @property
    def fine(self) -> bool:
        """Whether the planner does not end here, as far as is known."""
        return self.state in {State.ready, State.unchecked, State.maybe}

    def __str__(self) -> str:
        sentence = f"{self.path.name}: {self.text or self.state}"
        ways = [f"`{self.command}` fills it" if self.command else "", self.otherwise]
        return ". ".join([sentence, *(["; ".join(filter(None, ways))] if any(ways) else [])])


@dataclass(frozen=True, kw_only=True)
class Case:
    """The model, GPU, VM and root that are asked about. `clusters`: numbers of VMs; `new`: contents not yet written."""

    inputs: "Inputs"
    clusters: tuple[int, ...] = NODES
    new: Mapping[Path, bytes] = field(default_factory=dict)

    def content(self, path: Path) -> bytes:
        """Return the content of a file. Raises FileNotFoundError, DamagedFileError."""
        return self.new[path] if path in self.new else json_file.read_bytes(path)

    def exists(self, path: Path) -> bool:
        return path in self.new or path.exists()

    def nodes_with(self, gpus: int) -> int | None:
        """Return the fewest VMs that have so many GPUs; None where no cluster has."""
        return min((nodes for nodes in self.clusters if nodes * self.inputs.gpus_per_vm >= gpus), default=None)

    @property
    def root(self) -> Path:
        return self.inputs.place.root

    @cached_property
    def commands(self) -> Commands:
        return Commands(self.inputs.config)

    @cached_property
    def outcomes(self) -> Mapping[CellKey, Outcome]:
        """Outcomes of what was measured but perhaps not gathered; empty where nothing usable was."""
        from sailor_exp.exporters.sailor.exporter import measured_grid
        from sailor_exp.exporters.sailor.grid import PROFILE

        records = read_all(Path(self.inputs.config.profile_dir), PROFILE, LayersMeasurement)
        try:
            return measured_grid(self.inputs, records).outcomes
        except SailorExpError:
            return {}

    @cached_property
    def parameter_bytes(self) -> dict[int, dict[int, int]]:
        """Bytes of the parameters by tp and layer in llm_info.json, which has its own finding; empty where unusable."""
        path, model = self.inputs.place.llm_info, self.inputs.model.name
        try:
            entry = json_file.objects_in(path, json_file.object_of(path, self.content(path)), model)
            memory = memory_by_tp_in(path, entry, model)
        except (FileNotFoundError, SailorExpError):
            return {}
        return {tp: {layer: counts["params_bytes"] for layer, counts in part.items()} for tp, part in memory.items()}

    def other_parameters(self, tp: int, found: Mapping[int, float]) -> Iterator[Hole]:
        """Yield the first layer whose parameters are not those of llm_info.json. found: bytes by layer."""
        for layer, expected in self.parameter_bytes.get(tp, {}).items():
            if found.get(layer, expected) != expected:
                text = f"layer {layer} has {found[layer]:.0f} bytes of parameters at tp={tp}, llm_info.json {expected}"
                yield Hole(text=text, state=State.other_model)
                return


class Reader(ABC):
    """What a planner opens and asks for.

    `planner`: the name of its directory. `opens_measured_pairs`: whether its own simulator opens
    multizone_bandwidths.json. `asks_inside`: whether it looks up the bandwidth inside a VM.
    """

    planner: ClassVar[str]
    opens_measured_pairs: ClassVar[bool] = False
    asks_inside: ClassVar[bool] = False

    @abstractmethod
    def files(self, case: Case, command: str) -> Iterator[File]:
        """Yield the planner's own files. command: makes them."""

    @abstractmethod
    def degrees(self, case: Case) -> dict[int, int]:
        """Return the tensor parallel degrees of its plans, and the fewest VMs with which it tries them."""

    def microbatches(self, tp: int) -> tuple[int, ...] | None:  # noqa: ARG002
        """Return the microbatches of its plans with a tp; None where it takes any."""
        return None

    def counts(self, case: Case) -> dict[int, int]:
        """Return the GPUs in each VM for which bandwidths are looked up, and the fewest VMs with which they are.

        The planner looks up the whole VM; the simulator one GPU, and what a tp uses of a VM (runtime_simulator.py,
        `estimate_sync_time` and `estimate_p2p_pipeline_times`).
        """
        vm = case.inputs.gpus_per_vm
        asked = {1: 1, vm: 1}
        for tp, nodes in self.degrees(case).items():
            asked[min(tp, vm)] = min(nodes, asked.get(min(tp, vm), nodes))
        return asked

    def code(self, case: Case) -> Iterator[Finding]:  # noqa: ARG002
        """Yield findings about the planner's code in a checkout, where names of GPUs stand in it."""
        yield from ()


def findings(case: Case, files: Iterator[File]) -> Iterator[Finding]:
    """Yield what is to be said of each file: at least that it is ready."""
    for file in files:
        yield from _findings_of(case, file)


def _findings_of(case: Case, file: File) -> Iterator[Finding]:
    try:
        holes = list(file.holes(case.content(file.path)))
    except FileNotFoundError:
        yield Finding(path=file.path, state=State.missing, command=file.command)
        return
    except DamagedFileError as error:
        text = f"{error.fault}: mend it or move it away first" if file.merged else error.fault
        yield Finding(path=file.path, state=State.damaged, text=text, command=file.command)
        return
    except (LayerIdsError, MixedShapesError) as error:
        way = ": set model.* to it, or use another model.name or export_root" if file.merged else ""
        command = None if file.merged else file.command
        yield Finding(path=file.path, state=State.other_model, text=error.fault + way, command=command)
        return
    if not holes:
        yield Finding(path=file.path, state=State.ready)
    for hole in holes:
        yield Finding(
            path=file.path,
            state=hole.state,
            text=hole.text,
            command=None if hole.by_hand else hole.command or file.command,
            nodes=hole.nodes,
            otherwise=hole.otherwise,
        )


def json_holes(path: Path, holes: Callable[[dict[str, Any]], Iterator[Hole]]) -> Callable[[bytes], Iterator[Hole]]:
    """Return a function of a file's bytes from one of the object in it."""
    return lambda content: holes(json_file.object_of(path, content))
