"""The numbers of one cell by layer id, as the published files have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sailor_exp.errors import DamagedFileError
from sailor_exp.files import json_file

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


class CellKey(NamedTuple):
    """A cell of the grid."""

    tp: int
    mbs: int

    def __str__(self) -> str:
        return f"tp={self.tp} mbs={self.mbs}"


@dataclass(frozen=True, kw_only=True)
class CellProfile:
    """Numbers of one cell, by layer id."""

    times: LayerTimes
    memory: LayerMemory
