"""Merges the cells of one model and GPU into the gathered database, which others own too.

What the cells do not speak of stays: other models and GPUs, cells that were not measured again, other tensor
parallel degrees of llm_info. All three files are read and checked before the first is written, each is replaced
whole, and a lock lets one gather merge at a time.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.config.schema import ModelConfig
from sailor_exp.exporters.sailor.database import Place, written_times
from sailor_exp.files import json_file, whole
from sailor_exp.files.lock import locked
from sailor_exp.profiles.layers.published import CellKey, CellProfile, LayerTimes, parsed_times


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a merge did: files written, values of llm_info that differ from before, cells that stayed, tps known."""

    paths: tuple[Path, ...]
    differences: tuple[str, ...]
    stayed: tuple[CellKey, ...]
    memory_tps: frozenset[int]


def merge(
    place: Place, model: ModelConfig, cells: Mapping[CellKey, CellProfile], without_numbers: Collection[CellKey]
) -> Merged:
    """Merge measured cells; those of `without_numbers` were measured and have none, so they are taken out.

    Raises DamagedFileError, LayerIdsError, LockError or StorageError; the files are then as they were, or each as it
    was or as it shall be where writing itself failed.
    """
    paths = (place.llm_info, place.profile, place.simulator)
    with locked(place.lock):
        llm_info, profile, simulator = (json_file.read_object_if_there(path) for path in paths)
        spoken_of = {*cells, *without_numbers}
        kept = _former_cells(place, profile, simulator, model, spoken_of)
        times = written_times(_by_mbs(kept | {key: cell.times for key, cell in cells.items()}))
        differences = _merge_memory(place, llm_info, cells)
        models = json_file.objects_in(place.simulator, simulator, place.model)
        simulator[place.model] = {**models, place.gpu: times}
        for path, content in zip(paths, (llm_info, times, simulator), strict=True):
            whole.remove_unfinished(path.parent)
            whole.write_whole(path, json_file.bytes_of(content))
    return Merged(
        paths=paths,
        differences=tuple(differences),
        stayed=tuple(sorted(kept)),
        memory_tps=frozenset(json_file.by_number(place.llm_info, llm_info.get(place.model, {}), place.model)),
    )


def _former_cells(
    place: Place,
    profile: Mapping[str, Any],
    simulator: Mapping[str, Any],
    model: ModelConfig,
    spoken_of: Collection[CellKey],
) -> dict[CellKey, LayerTimes]:
    """Cells that stay: of the simulator's file, and over them those of profile.json."""
    entry = json_file.objects_in(place.simulator, simulator, place.model, place.gpu)
    former = [*_cells_in(place.simulator, entry), *_cells_in(place.profile, profile)]
    for path, key, layers in former:
        if key not in spoken_of:
            check_layer_ids(model, layers, path, f"the cell {key}")
    return {key: layers for _, key, layers in former if key not in spoken_of}


def _cells_in(path: Path, content: Mapping[str, Any]) -> Iterator[tuple[Path, CellKey, LayerTimes]]:
    for mbs in json_file.by_number(path, content, "the profile"):
        tps = json_file.objects_in(path, content, str(mbs))
        for tp in json_file.by_number(path, tps, f"mbs {mbs}"):
            key = CellKey(tp, mbs)
            yield path, key, parsed_times(path, json_file.objects_in(path, tps, str(tp)), f"the cell {key}")


def _by_mbs(cells: Mapping[CellKey, LayerTimes]) -> dict[int, dict[int, LayerTimes]]:
    times: dict[int, dict[int, LayerTimes]] = {}
    for key, layers in cells.items():
        times.setdefault(key.mbs, {})[key.tp] = layers
    return times


def _merge_memory(place: Place, llm_info: dict[str, Any], cells: Mapping[CellKey, CellProfile]) -> list[str]:
    """Put the memory of the cells of microbatch 1 into llm_info; returns where it differs from what was there."""
    entry = json_file.objects_in(place.llm_info, llm_info, place.model)
    differences: list[str] = []
    for key, cell in sorted(cells.items()):
        if key.mbs == 1:
            former = json_file.objects_in(place.llm_info, entry, str(key.tp))
            measured = {str(layer): dict(counts) for layer, counts in sorted(cell.memory.items())}
            differences += [f"{place.model} tp={key.tp}, {line}" for line in _differences(former, measured)]
            entry[str(key.tp)] = measured
    order = json_file.by_number(place.llm_info, entry, place.model)
    llm_info[place.model] = {str(tp): value for tp, value in order.items()}
    return differences


def _differences(former: Mapping[str, Any], measured: Mapping[str, Mapping[str, int]]) -> list[str]:
    """One line for layers that follow each other and differ alike."""
    found: dict[str, list[str]] = {}
    for layer in dict.fromkeys([*former, *measured]) if former else ():
        for change in _changes(former.get(layer), measured.get(layer)):
            found.setdefault(change, []).append(layer)
    return [f"{_layers(layers)}: {change}" for change, layers in found.items()]


def _changes(former: object, measured: Mapping[str, int] | None) -> list[str]:
    if measured is None:
        return ["was there, is not in the model"]
    if not isinstance(former, dict):
        return ["was not there"]
    return [f"{key} was {former.get(key)}, is {value}" for key, value in measured.items() if former.get(key) != value]


def _layers(layers: list[str]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"{len(layers)} layers, {layers[0]} to {layers[-1]}"
