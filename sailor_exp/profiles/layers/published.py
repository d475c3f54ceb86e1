"""The numbers of one cell by layer id, as in the published files.

Format: eth-easl/sailor at cf2c8e3. A time is `[forward, backward, update]` in seconds of one rank and one whole
microbatch; memory is that of one rank, in elements and bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import PlainValidator, TypeAdapter
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from sailor_exp.files.json_file import Count, WholeKey, checked, in_order, not_negative
from sailor_exp.profiles.layers.measurement import LayersMeasurement


class CellKey(NamedTuple):
    """A cell of the grid."""

    tp: int
    mbs: int

    def __str__(self) -> str:
        return f"tp={self.tp} mbs={self.mbs}"


class PhaseTimes(NamedTuple):
    """Times of one layer on one rank, in seconds, in the order of the files."""

    forward_s: float
    backward_s: float
    update_s: float


class LayerCounts(TypedDict):
    """Elements and bytes of one layer on one rank: parameters, input, output, and what it keeps for the backward."""

    params_floats: Count
    act_output_floats: Count
    act_input_floats: Count
    act_mem_floats: Count
    params_bytes: Count
    act_output_bytes: Count
    act_input_bytes: Count
    act_mem_bytes: Count


MEMORY_KEYS = tuple(LayerCounts.__annotations__)
LayerTimes = dict[int, PhaseTimes]
LayerMemory = dict[int, LayerCounts]
"""By layer id, in numeric order."""


@dataclass(frozen=True, kw_only=True)
class CellProfile:
    """Numbers of one cell, by layer id."""

    times: LayerTimes
    memory: LayerMemory


def cell_profile(measured: LayersMeasurement) -> CellProfile:
    """Return the numbers of every layer id: those of its kind of part.

    Raises ValueError for a layer id that is no number, or whose kind has no numbers.
    """
    times = {
        kind: PhaseTimes(phases.forward.value_s, phases.backward.value_s, phases.update.value_s)
        for kind, phases in measured.statistics.kinds.items()
    }
    memory = {kind: _counts(counts.model_dump()) for kind, counts in measured.memory.kinds.items()}
    for layer, kind in measured.layers.items():
        if not layer.isdigit() or kind not in times.keys() & memory:
            raise ValueError(f"no numbers stand for layer {layer!r}")
    layers = sorted((int(layer), kind) for layer, kind in measured.layers.items())
    return CellProfile(
        times={layer: times[kind] for layer, kind in layers}, memory={layer: memory[kind] for layer, kind in layers}
    )


def fits_in_memory(key: CellKey, measured: Iterable[CellKey]) -> bool:
    """Whether a measured cell needs at least as much memory: one with no larger tp and no smaller microbatch."""
    return any(other.tp <= key.tp and other.mbs >= key.mbs for other in measured)


def times_in(path: Path, content: object, *place: str) -> LayerTimes:
    """Return the times at a place of a file, in numeric order. Raises DamagedFileError."""
    return in_order(checked(path, content, _TIMES, *place))


def memory_in(path: Path, content: object, *place: str) -> LayerMemory:
    """Return the memory at a place of a file, in numeric order. Raises DamagedFileError."""
    return in_order(checked(path, content, _MEMORY, *place))


def grid_in(path: Path, content: object, *place: str) -> dict[int, dict[int, LayerTimes]]:
    """Return {mbs: {tp: times}} from a place of a file, each in numeric order. Raises DamagedFileError."""
    grid = checked(path, content, _GRID, *place)
    return in_order(
        {mbs: in_order({tp: in_order(layers) for tp, layers in cells.items()}) for mbs, cells in grid.items()}
    )


def memory_by_tp_in(path: Path, content: object, *place: str) -> dict[int, LayerMemory]:
    """Return {tp: memory} from a place of a file, each in numeric order. Raises DamagedFileError."""
    memory = checked(path, content, _MEMORY_BY_TP, *place)
    return in_order({tp: in_order(layers) for tp, layers in memory.items()})


def memory_tps(path: Path, content: object, *place: str) -> list[int]:
    """Return the tensor parallel degrees of the memory at a place of a file. What is under them is not checked.

    Raises DamagedFileError for a key that is no degree.
    """
    return sorted([*checked(path, content, _TPS, *place)])


def _phase_times(value: object) -> PhaseTimes:
    if not isinstance(value, list) or len(value) != len(PhaseTimes._fields):
        context = {"value": f"{value!r:.60}"}
        raise PydanticCustomError("phase_times", "is {value}, where [forward, backward, update] is expected", context)
    return PhaseTimes(*(not_negative(number) for number in value))


def _counts(counts: Mapping[str, Any]) -> LayerCounts:
    return LayerCounts(**{key: counts[key] for key in MEMORY_KEYS})  # type: ignore[typeddict-item, no-any-return]


_Times = dict[WholeKey, Annotated[PhaseTimes, PlainValidator(_phase_times)]]
_TIMES: TypeAdapter[dict[int, PhaseTimes]] = TypeAdapter(_Times)
_GRID: TypeAdapter[dict[int, dict[int, dict[int, PhaseTimes]]]] = TypeAdapter(dict[WholeKey, dict[WholeKey, _Times]])
_TPS: TypeAdapter[dict[int, Any]] = TypeAdapter(dict[WholeKey, Any])
_MEMORY: TypeAdapter[dict[int, LayerCounts]] = TypeAdapter(dict[WholeKey, LayerCounts])
_MEMORY_BY_TP: TypeAdapter[dict[int, dict[int, LayerCounts]]] = TypeAdapter(dict[WholeKey, dict[WholeKey, LayerCounts]])
