"""The gathered database: Sailor's three files, below a root that mirrors a checkout of the Sailor repository.

Format: eth-easl/sailor at cf2c8e3. The planner (sailor/Planner/sailor_planner) reads `profile.json`, the simulator
(sailor/Planner/simulations) `profiles_tmp.json`, where it counts a missing cell as 0 s, and both read `llm_info.json`.
Times are seconds of one rank and one whole microbatch; memory is that of one rank at microbatch 1.

    profile.json        {mbs: {tp: {layer: [forward, backward, update]}}}
    profiles_tmp.json   {model: {gpu: <the same>}}
    llm_info.json       {model: {tp: {layer: {params_floats, ..., act_mem_bytes}}}}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.config.schema import ModelConfig
from sailor_exp.errors import MissingInputError
from sailor_exp.exporters.sailor.shape import Source, check_shape
from sailor_exp.files import json_file
from sailor_exp.profiles.layers.published import LayerMemory, LayerTimes, grid_in, memory_by_tp_in


@dataclass(frozen=True, kw_only=True)
class Place:
    """The paths of the files of one model and GPU below a root."""

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
        """Return the directory of a planner's files."""
        return self.root / "sailor/Planner/baselines" / planner / "profiles" / self.model / self.gpu


@dataclass(frozen=True, kw_only=True)
class Database:
    """The times and memory of one model and GPU, for the planners. Keys are numbers, in rising order.

    `times`: by microbatch, tensor parallel degree and layer id. `memory`: by tensor parallel degree and layer id.
    The paths are those of the files that hold them.
    """

    times: Mapping[int, Mapping[int, LayerTimes]]
    memory: Mapping[int, LayerMemory]
    times_path: Path
    memory_path: Path


def load(place: Place, model: ModelConfig, command: str) -> Database:
    """Read the gathered database of a model and GPU: profile.json, or the simulator's file where there is none.

    command: the command that gathers it, for error messages. Raises MissingInputError where nothing was gathered,
    DamagedFileError, LayerIdsError where the layer ids are not those of the configured model, MixedShapesError where
    the parameters are not.
    """
    times_path, times = _times_content(place, command)
    memory_path, memory = place.llm_info, _model_memory(place, command)
    return Database(
        times=_checked_times(times_path, times, model),
        memory=checked_memory(memory_path, memory, model),
        times_path=times_path,
        memory_path=memory_path,
    )


def written_times(times: Mapping[int, Mapping[int, LayerTimes]]) -> dict[str, Any]:
    """Return times in the shape of profile.json, every level in numeric order."""
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
    times = grid_in(path, content, "the profile")
    for mbs, cells in times.items():
        for tp, layers in cells.items():
            check_layer_ids(model, layers, path, f"the cell tp={tp} mbs={mbs}")
    return times


def checked_memory(path: Path, content: Mapping[str, Any], model: ModelConfig) -> dict[int, LayerMemory]:
    """Return the memory of the configured model, {tp: memory}, from its entry in llm_info.

    Raises DamagedFileError, LayerIdsError, MixedShapesError.
    """
    memory = memory_by_tp_in(path, content, model.name)
    for tp, layers in memory.items():
        check_layer_ids(model, layers, path, f"the memory of {model.name} at tp={tp}")
    named = (Source(name=f"{path}, {model.name}.{tp}", tp=tp, memory=layers) for tp, layers in memory.items())
    check_shape(model, named)
    return memory
