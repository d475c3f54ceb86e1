"""The published raw profile file of a cell, `profile_{model}_{gpu}_{tp}_{mbs}.json`.

Format: eth-easl/sailor at cf2c8e3, written by third_party/Megatron-DeepSpeed's profiler and read by
sailor/profiling/gather_profs.py: `timing` maps a layer id to [forward, backward, update] in seconds, `memory` to
counts of one rank's whole microbatch. Readers ignore other keys; `record` names the record that the file comes from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.config.schema import ModelConfig
from sailor_exp.errors import DamagedFileError
from sailor_exp.files import json_file
from sailor_exp.files.whole import write_whole
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.layers.published import CellKey, CellProfile, cell_profile, memory_in, times_in
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Record


def file_name(identity: Identity) -> str:
    """Return the name that the published tools look for."""
    return f"profile_{identity.subject}_{identity.gpu_name}_{identity.tp}_{identity.mbs}.json"


def content(record: Record[LayersMeasurement]) -> dict[str, object]:
    """Return all layer ids of an ok record, each with the numbers of its kind of part.

    Raises ValueError for a record without numbers.
    """
    numbers = cell_profile(record.measured)
    return {
        "timing": {str(layer): list(phases) for layer, phases in numbers.times.items()},
        "memory": {str(layer): dict(counts) for layer, counts in numbers.memory.items()},
        "record": record.file_name,
    }


def write(record: Record[LayersMeasurement], profile_dir: Path) -> Path:
    """Write the file whole. Raises StorageError."""
    path = profile_dir / file_name(record.identity)
    write_whole(path, json_file.bytes_of(content(record)))
    return path


def keep(record: Record[LayersMeasurement], profile_dir: Path) -> None:
    """Write the file unless it comes from this very record: a record of another identity may have the same file."""
    if _source_record(profile_dir / file_name(record.identity)) != record.file_name:
        write(record, profile_dir)


def discard(record: Record[LayersMeasurement], profile_dir: Path) -> None:
    """Remove the file that comes from the former record of a cell, because the cell has no numbers now."""
    path = profile_dir / file_name(record.identity)
    if _source_record(path) == record.file_name:
        path.unlink()


def _source_record(path: Path) -> str | None:
    """Return the name of the record that a file comes from; None if the file names none, is missing or damaged."""
    try:
        record = json_file.read_object(path).get("record")
    except (FileNotFoundError, DamagedFileError):
        return None
    return record if isinstance(record, str) else None


@dataclass(frozen=True, kw_only=True)
class ProfileFile:
    """A profile file of a directory: its cell, and the record that it comes from, if it names one."""

    path: Path
    key: CellKey
    record: str | None
    profile: CellProfile | None


def read_all(profile_dir: Path, model: ModelConfig, gpu: str) -> Iterator[ProfileFile]:
    """Yield the profile files of a model and GPU, by name, with the numbers of those that name no record.

    The content does not name the cell, so the cell comes from the file name, after the configured names. Files of other
    names belong to other models and GPUs, and are skipped.

    Raises DamagedFileError for a file that is damaged or has another shape, LayerIdsError if its layer ids are not
    those of the model.
    """
    pattern = re.compile(rf"profile_{re.escape(model.name)}_{re.escape(gpu)}_(\d+)_(\d+)\.json")
    for path in sorted(profile_dir.glob("profile_*.json")):
        if match := pattern.fullmatch(path.name):
            yield _read(path, CellKey(tp=int(match[1]), mbs=int(match[2])), model)


def _read(path: Path, key: CellKey, model: ModelConfig) -> ProfileFile:
    file = json_file.read_object(path)
    if record := file.get("record"):
        return ProfileFile(path=path, key=key, record=str(record), profile=None)
    for part in ("timing", "memory"):
        if part not in file:
            raise DamagedFileError(path, f"has no {part!r}: it is not a profile file")
    times = times_in(path, file["timing"], "timing")
    memory = memory_in(path, file["memory"], "memory")
    check_layer_ids(model, times, path, "timing")
    check_layer_ids(model, memory, path, "memory")
    return ProfileFile(path=path, key=key, record=None, profile=CellProfile(times=times, memory=memory))
