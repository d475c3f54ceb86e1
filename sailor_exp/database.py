"""The gathered database: Sailor's three files, below a root that mirrors a checkout of the Sailor repository.

Format: eth-easl/sailor at cf2c8e3. `profile.json` is read by the planner (sailor/Planner/sailor_planner),
`profiles_tmp.json` by the simulator (sailor/Planner/simulations), which takes a cell that is not there for 0 s, and
`llm_info.json` by both. Times are seconds of one rank and one whole microbatch; memory is that of one rank at
microbatch 1.

    profile.json        {mbs: {tp: {layer: [forward, backward, update]}}}
    profiles_tmp.json   {model: {gpu: <the same>}}
    llm_info.json       {model: {tp: {layer: {params_floats, ..., act_mem_bytes}}}}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sailor_exp import json_file
from sailor_exp.config import ModelConfig
from sailor_exp.errors import DamagedFileError, MissingInputError
from sailor_exp.layers import check_layer_ids

MEMORY_KEYS = (
    "params_floats",
    "act_output_floats",
    "act_input_floats",
    "act_mem_floats",
    "params_bytes",
    "act_output_bytes",
    "act_input_bytes",
    "act_mem_bytes",
)


class PhaseTimes(NamedTuple):
    """Times of one layer on one rank, in seconds, as the files write them."""

    forward_s: float
    backward_s: float
    update_s: float


LayerTimes = dict[int, PhaseTimes]
LayerMemory = dict[int, dict[str, int]]
"""By layer id, in numeric order; counts of elements and bytes by MEMORY_KEYS."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the files of one model and GPU lie below a root."""

    root: Path
    model: str
    gpu: str

    @property
    def profile(self) -> Path:
        return self.root / "sailor/Planner/sailor_planner/profiles" / self.model / self.gpu / "profile.json"

    @property
    def simulator(self) -> Path:
        return self.root / "sailor/Planner/simulations/profiles_tmp.json"

    @property
    def llm_info(self) -> Path:
        return self.root / "sailor/Planner/llm_info.json"

    @property
    def lock(self) -> Path:
        return self.root / ".sailor-exp.lock"

    def baseline(self, planner: str) -> Path:
        """Directory of a planner's files."""
        return self.root / "sailor/Planner/baselines" / planner / "profiles" / self.model / self.gpu


@dataclass(frozen=True, kw_only=True)
class Database:
    """What the planners read of one model and GPU. Keys are numbers, in rising order.

    `times`: by microbatch, tensor parallel degree and layer id. `memory`: by tensor parallel degree and layer id.
    The paths are those of the files that each was read from.
    """

    times: Mapping[int, Mapping[int, LayerTimes]]
    memory: Mapping[int, LayerMemory]
    times_path: Path
    memory_path: Path


def load(place: Place, model: ModelConfig, command: str) -> Database:
    """Read what was gathered of a model and GPU: profile.json, or the simulator's file where there is none.

    `command` is the one that gathers it, for a message. Raises MissingInputError where nothing was gathered,
    DamagedFileError, and LayerIdsError where the layer ids are not those of the configured model.
    """
    times_path, times = _times_content(place, command)
    memory_path, memory = place.llm_info, _model_memory(place, command)
    return Database(
        times=_checked_times(times_path, times, model),
        memory=_checked_memory(memory_path, memory, model),
        times_path=times_path,
        memory_path=memory_path,
    )


def parsed_times(path: Path, content: Mapping[str, Any], place: str) -> LayerTimes:
    """Return layer times in numeric order. Raises DamagedFileError."""
    return {
        layer: _phase_times(path, value, f"{place}, layer {layer}")
        for layer, value in json_file.by_number(path, content, place).items()
    }


def parsed_memory(path: Path, content: Mapping[str, Any], place: str) -> LayerMemory:
    """Return layer memory in numeric order. Raises DamagedFileError."""
    return {
        layer: _counts(path, value, f"{place}, layer {layer}")
        for layer, value in json_file.by_number(path, content, place).items()
    }


def written_times(times: Mapping[int, Mapping[int, LayerTimes]]) -> dict[str, Any]:
    """Return times as profile.json has them, every level in numeric order."""
    return {
        str(mbs): {
            str(tp): {str(layer): list(phases) for layer, phases in sorted(layers.items())}
            for tp, layers in sorted(cells.items())
        }
        for mbs, cells in sorted(times.items())
    }


def _times_content(place: Place, command: str) -> tuple[Path, dict[str, Any]]:
    try:
        return place.profile, json_file.read_object(place.profile)
    except FileNotFoundError:
        pass
    try:
        shared = json_file.read_object(place.simulator)
    except FileNotFoundError:
        shared = {}
    content = json_file.objects_in(place.simulator, shared, place.model, place.gpu)
    if not content:
        raise _not_gathered(place.profile, "the gathered profile", command)
    return place.simulator, content


def _model_memory(place: Place, command: str) -> dict[str, Any]:
    try:
        shared = json_file.read_object(place.llm_info)
    except FileNotFoundError as error:
        raise _not_gathered(place.llm_info, "the gathered memory", command) from error
    content = json_file.objects_in(place.llm_info, shared, place.model)
    if not content:
        raise _not_gathered(place.llm_info, f"the entry {place.model}", command)
    return content


def _not_gathered(path: Path, what: str, command: str) -> MissingInputError:
    return MissingInputError(path, what=what, command=command, key="export_root")


def _checked_times(path: Path, content: Mapping[str, Any], model: ModelConfig) -> dict[int, dict[int, LayerTimes]]:
    times: dict[int, dict[int, LayerTimes]] = {}
    for mbs, cells in json_file.by_number(path, content, "the profile").items():
        times[mbs] = {}
        for tp, layers in json_file.by_number(path, _object(path, cells, f"mbs {mbs}"), f"mbs {mbs}").items():
            cell = f"the cell tp={tp} mbs={mbs}"
            times[mbs][tp] = parsed_times(path, _object(path, layers, cell), cell)
            check_layer_ids(model, times[mbs][tp], path, cell)
    return times


def _checked_memory(path: Path, content: Mapping[str, Any], model: ModelConfig) -> dict[int, LayerMemory]:
    memory: dict[int, LayerMemory] = {}
    for tp, layers in json_file.by_number(path, content, model.name).items():
        entry = f"the memory of {model.name} at tp={tp}"
        memory[tp] = parsed_memory(path, _object(path, layers, entry), entry)
        check_layer_ids(model, memory[tp], path, entry)
    return memory


def _phase_times(path: Path, value: object, place: str) -> PhaseTimes:
    if not isinstance(value, list) or len(value) != len(PhaseTimes._fields):
        raise DamagedFileError(path, f"{place} is {value!r:.60}, where [forward, backward, update] is expected")
    return PhaseTimes(*(json_file.not_negative(path, number, place) for number in value))


def _counts(path: Path, value: object, place: str) -> dict[str, int]:
    content = _object(path, value, place)
    if missing := [key for key in MEMORY_KEYS if key not in content]:
        raise DamagedFileError(path, f"{place} has no {', '.join(missing)}")
    return {key: json_file.count(path, content[key], f"{place}, {key}") for key in MEMORY_KEYS}


def _object(path: Path, value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DamagedFileError(path, f"{place} is {value!r:.60}, where an object is expected")
    return value
