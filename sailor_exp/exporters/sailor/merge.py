"""Merges the cells of one model and GPU into the gathered database, which holds content of others, too.

All other content stays: other models and GPUs, cells that were not measured again, other tensor parallel degrees of
llm_info.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.config.schema import ModelConfig
from sailor_exp.exporters.sailor.database import Place, checked_memory, written_times
from sailor_exp.files import json_file
from sailor_exp.profiles.layers.published import CellKey, CellProfile, LayerTimes, grid_in, memory_tps


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The database after a merge: its files, changed values of llm_info, cells that stayed, tps of llm_info."""

    files: Mapping[Path, bytes]
    differences: tuple[str, ...]
    stayed: tuple[CellKey, ...]
    memory_tps: frozenset[int]


def merge(
    place: Place,
    model: ModelConfig,
    cells: Mapping[CellKey, CellProfile],
    without_numbers: Collection[CellKey],
    shared: Callable[[Path], dict[str, Any]],
) -> Merged:
    """Merge measured cells into the content of the present files, without writing them.

    without_numbers: measured cells that have no numbers; they are removed. shared: returns the content of a file, and
    prevents changes by others. Raises DamagedFileError, LayerIdsError, MixedShapesError, and the errors of `shared`.
    """
    paths = (place.llm_info, place.profile, place.simulator)
    llm_info, profile, simulator = (shared(path) for path in paths)
    kept = _former_cells(place, profile, simulator, model, {*cells, *without_numbers})
    times = written_times(_by_mbs(kept | {key: cell.times for key, cell in cells.items()}))
    differences = _merge_memory(place, llm_info, cells)
    memory = checked_memory(place.llm_info, llm_info[place.model], model)
    models = json_file.objects_in(place.simulator, simulator, place.model)
    simulator[place.model] = {**models, place.gpu: times}
    contents = zip(paths, (llm_info, times, simulator), strict=True)
    return Merged(
        files={path: json_file.bytes_of(content) for path, content in contents},
        differences=tuple(differences),
        stayed=tuple(sorted(kept)),
        memory_tps=frozenset(memory),
    )


def _former_cells(
    place: Place,
    profile: Mapping[str, Any],
    simulator: Mapping[str, Any],
    model: ModelConfig,
    replaced: Collection[CellKey],
) -> dict[CellKey, LayerTimes]:
    """Return the cells that stay: those of the simulator's file and of profile.json, which takes precedence."""
    entry = json_file.objects_in(place.simulator, simulator, place.model, place.gpu)
    former = [
        *_cells_in(place.simulator, entry, place.model, place.gpu),
        *_cells_in(place.profile, profile, "the profile"),
    ]
    for path, key, layers in former:
        if key not in replaced:
            check_layer_ids(model, layers, path, f"the cell {key}")
    return {key: layers for _, key, layers in former if key not in replaced}


def _cells_in(path: Path, content: Mapping[str, Any], *place: str) -> Iterator[tuple[Path, CellKey, LayerTimes]]:
    for mbs, cells in grid_in(path, content, *place).items():
        for tp, layers in cells.items():
            yield path, CellKey(tp, mbs), layers


def _by_mbs(cells: Mapping[CellKey, LayerTimes]) -> dict[int, dict[int, LayerTimes]]:
    times: dict[int, dict[int, LayerTimes]] = {}
    for key, layers in cells.items():
        times.setdefault(key.mbs, {})[key.tp] = layers
    return times


def _merge_memory(place: Place, llm_info: dict[str, Any], cells: Mapping[CellKey, CellProfile]) -> list[str]:
    """Put the memory of the cells of microbatch 1 into llm_info; return the differences from the former memory."""
    entry = json_file.objects_in(place.llm_info, llm_info, place.model)
    differences: list[str] = []
    for key, cell in sorted(cells.items()):
        if key.mbs == 1:
            former = json_file.objects_in(place.llm_info, entry, str(key.tp))
            measured = {str(layer): dict(counts) for layer, counts in sorted(cell.memory.items())}
            differences += [f"{place.model} tp={key.tp}, {line}" for line in _differences(former, measured)]
            entry[str(key.tp)] = measured
    in_order = sorted(memory_tps(place.llm_info, entry, place.model))
    llm_info[place.model] = {str(tp): entry[str(tp)] for tp in in_order}
    return differences


def _differences(former: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line for all layers with the same change."""
    changes: dict[str, list[str]] = {}
    for layer in dict.fromkeys([*former, *measured]) if former else ():
        for change in _changes(former.get(layer), measured.get(layer)):
            changes.setdefault(change, []).append(layer)
    return [f"{_layers(layers)}: {change}" for change, layers in changes.items()]


def _changes(former: object, measured: Mapping[str, Any] | None) -> list[str]:
    if measured is None:
        return ["was there, is not in the model"]
    if not isinstance(former, dict):
        return ["was not there"]
    return [f"{key} was {former.get(key)}, is {value}" for key, value in measured.items() if former.get(key) != value]


def _layers(layers: list[str]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"{len(layers)} layers, {layers[0]} to {layers[-1]}"
