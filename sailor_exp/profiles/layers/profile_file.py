"""The published raw profile file of a cell, `profile_{model}_{gpu}_{tp}_{mbs}.json`.

Format: eth-easl/sailor at cf2c8e3, written by third_party/Megatron-DeepSpeed's profiler and read by
sailor/profiling/gather_profs.py: `timing` maps a layer id to [forward, backward, update] in seconds, `memory` to
counts of one rank's whole microbatch. Readers ignore other keys; `record` names the record that it was made from.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.config.schema import ModelConfig
from sailor_exp.errors import DamagedFileError
from sailor_exp.files import json_file
from sailor_exp.files.whole import write_whole
from sailor_exp.profiles.layers.published import MEMORY_KEYS, CellKey, CellProfile, parsed_memory, parsed_times
from sailor_exp.records.record import Record


def file_name(record: Record) -> str:
    """Return the name that the published tools look for."""
    identity = record.identity
    return f"profile_{identity.subject}_{identity.gpu['name']}_{identity.tp}_{identity.mbs}.json"


def content(record: Record) -> dict[str, object]:
    """All layer ids of an ok record, each with the numbers of the kind that stands for it.

    Raises ValueError for a record without numbers.
    """
    if record.layers is None or record.statistics is None or record.memory is None:
        raise ValueError(f"the record of {file_name(record)} is {record.outcome}: it has no numbers")
    timing, memory = {}, {}
    for layer, kind in record.layers.items():
        phases = record.statistics.kinds[kind]
        timing[layer] = [phases.forward.value_s, phases.backward.value_s, phases.update.value_s]
        counts = record.memory.kinds[kind]
        memory[layer] = {key: getattr(counts, key) for key in MEMORY_KEYS}
    return {"timing": timing, "memory": memory, "record": record.file_name}


def write(record: Record, profile_dir: Path) -> Path:
    """Write the file whole. Raises StorageError."""
    path = profile_dir / file_name(record)
    write_whole(path, (json.dumps(content(record), indent=1) + "\n").encode())
    return path


def keep(record: Record, profile_dir: Path) -> None:
    """Write the file unless it was made from this very record: one of another identity has the same name."""
    if _made_from(profile_dir / file_name(record)) != record.file_name:
        write(record, profile_dir)


def discard(record: Record, profile_dir: Path) -> None:
    """Remove the file that was made from the former record of a cell, now that the cell has no numbers."""
    path = profile_dir / file_name(record)
    if _made_from(path) == record.file_name:
        path.unlink()


def _made_from(path: Path) -> str | None:
    """Name of the record that a file was made from; None for one that is not there, damaged, or another tool's."""
    try:
        made_from = json_file.read_object(path).get("record")
    except (FileNotFoundError, DamagedFileError):
        return None
    return str(made_from)


@dataclass(frozen=True, kw_only=True)
class ProfileFile:
    """A profile file of a directory: its cell, and the record that it was made from where it names one."""

    path: Path
    key: CellKey
    record: str | None
    profile: CellProfile | None


def read_all(profile_dir: Path, model: ModelConfig, gpu: str) -> Iterator[ProfileFile]:
    """Profile files of a model and GPU, by name; the numbers of those that name no record.

    The format says nowhere inside what was measured, so the cell is what follows the configured names in the file
    name; files of other names are of other models and GPUs, and passed over.

    Raises DamagedFileError for a file that is damaged or has another shape, LayerIdsError where its layer ids are not
    those of the model.
    """
    pattern = re.compile(rf"profile_{re.escape(model.name)}_{re.escape(gpu)}_(\d+)_(\d+)\.json")
    for path in sorted(profile_dir.glob("profile_*.json")):
        if match := pattern.fullmatch(path.name):
            yield _read(path, CellKey(tp=int(match[1]), mbs=int(match[2])), model)


def _read(path: Path, key: CellKey, model: ModelConfig) -> ProfileFile:
    found = json_file.read_object(path)
    if record := found.get("record"):
        return ProfileFile(path=path, key=key, record=str(record), profile=None)
    for part in ("timing", "memory"):
        if part not in found:
            raise DamagedFileError(path, f"has no {part!r}: it is not a profile file")
    times = parsed_times(path, json_file.objects_in(path, found, "timing"), "timing")
    memory = parsed_memory(path, json_file.objects_in(path, found, "memory"), "memory")
    check_layer_ids(model, times, path, "timing")
    check_layer_ids(model, memory, path, "memory")
    return ProfileFile(path=path, key=key, record=None, profile=CellProfile(times=times, memory=memory))
