"""`profile=galvatron`: memory of small models on each stage, and Galvatron's extra file.

Format: eth-easl/sailor at cf2c8e3, `memory_profile.json` before its exporter adds to it, as in
PKU-DAIR/Hetu-Galvatron, galvatron/core/profiler.py. For the first and the last rank
{"{pp}_{tp}_{dp}": {"layernum[n]_bsz1_rank{r}_{ms|act|act_peak}": MiB}}.
`ms` is model states. `sailor_exp/exporters/galvatron/memory.py` reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from sailor_exp.config.schema import Cell
from sailor_exp.config.stages import beyond_one_machine
from sailor_exp.files.json_file import Number, checked, objects_in, read_object
from sailor_exp.profiles.extra_file import bring_up_to_date
from sailor_exp.profiles.galvatron.measurement import StageMemory, StageShare, StagesMeasurement
from sailor_exp.profiles.grids import Grid, powers_up_to
from sailor_exp.profiles.profile import Column, Profile
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Record
from sailor_exp.units import MIB, readable_bytes

FILE = "memory_profile.json"
_FIGURE = "layernum"
_LEAST_STAGES = 2


class GalvatronProfile(Profile[StageShare, StagesMeasurement]):
    """Measures one sample: Galvatron multiplies by the microbatch itself. The file omits strategies without numbers."""

    name = "galvatron"
    method = 2
    schema = StagesMeasurement
    keys = ("pp", "tp")
    columns = tuple(map(Column, ("pp", "tp", "layers", "rank", "model states", "activations", "peak above states")))
    legend = (
        "Bytes of one rank that trains models of so many layers at one sample: parameters, gradients and optimizer\n"
        "states after the backward; what the forward left; the highest of forward and backward above the states."
    )
    tidy_columns: ClassVar[Mapping[str, type]] = {
        "num_layers": int,
        "rank": int,
        "quantity": str,
        "value": float,
        "unit": str,
    }

    def infeasibility(self, cell: Cell) -> str | None:
        return beyond_one_machine(cell.pp, cell.tp, cell.vm.gpus)

    def measurement(self, cell: Cell, shares: Sequence[StageShare]) -> StagesMeasurement:  # noqa: ARG002
        return StagesMeasurement(
            by_num_layers={num_layers: [share[num_layers] for share in shares] for num_layers in shares[0]}
        )

    def written(self, record: Record[StagesMeasurement], profile_dir: Path) -> None:
        bring_up_to_date(_file_name, record.identity, profile_dir, StagesMeasurement, file_content)

    def one_line(self, measured: StagesMeasurement) -> str:
        num_layers, ranks = max(measured.by_num_layers.items(), key=lambda item: int(item[0]))
        ends = " and ".join(readable_bytes(ranks[rank].model_states_bytes) for rank in _end_ranks(ranks))
        return f"{num_layers} layers: model states {ends}"

    def rows(self, record: Record[StagesMeasurement]) -> Iterator[list[str]]:
        head = [str(record.identity.pp), str(record.identity.tp)]
        for num_layers, ranks in record.measured.by_num_layers.items():
            for rank in _end_ranks(ranks):
                yield [*head, num_layers, str(rank), *map(readable_bytes, ranks[rank].model_dump().values())]
                head = ["", ""]

    def tidy(self, measured: StagesMeasurement) -> Iterator[Mapping[str, Any]]:
        for num_layers, ranks in measured.by_num_layers.items():
            for rank, figures in enumerate(ranks):
                for name, count in figures.model_dump().items():
                    quantity = name.removesuffix("_bytes").replace("_", " ")
                    figure = {"quantity": quantity, "value": count, "unit": "bytes"}
                    yield {"num_layers": int(num_layers), "rank": rank, **figure}

    def grids(self, vm: int) -> list[Grid]:
        """Return all stages and degrees within a machine; Galvatron reads at least two stages."""
        return [{"pp": powers_up_to(max(vm, _LEAST_STAGES)), "tp": powers_up_to(vm)}]


def _file_name(identity: Identity) -> str:  # noqa: ARG001
    return FILE


def file_content(records: Sequence[Record[StagesMeasurement]]) -> dict[str, dict[str, float]]:
    """Return {strategy: {key: MiB}} of ok records, by rising pp and tp."""
    cells = {(record.identity.pp or 0, record.identity.tp or 0): record.measured for record in records}
    return {f"{pp}_{tp}_1": dict(_figures(measured)) for (pp, tp), measured in sorted(cells.items())}


def read_file(path: Path) -> dict[str, dict[str, float]]:
    """Read {strategy: {key: MiB}} from Galvatron's extra file, and skip everything else in it.

    Raises FileNotFoundError, and DamagedFileError for a file of another shape.
    """
    content = read_object(path)
    strategies = {name: objects_in(path, content, name) for name in content}
    return {
        name: checked(path, {key: figure for key, figure in figures.items() if key.startswith(_FIGURE)}, _MIB, name)
        for name, figures in strategies.items()
    }


def _figures(measured: StagesMeasurement) -> Iterator[tuple[str, float]]:
    for num_layers, ranks in measured.by_num_layers.items():
        for rank in _end_ranks(ranks):
            stem, figures = f"{_FIGURE}[{num_layers}]_bsz1_rank{rank}", ranks[rank]
            yield f"{stem}_ms", figures.model_states_bytes / MIB
            yield f"{stem}_act", figures.activation_bytes / MIB
            yield f"{stem}_act_peak", figures.activation_peak_bytes / MIB


def _end_ranks(ranks: Sequence[StageMemory]) -> list[int]:
    """Return the first and the last rank, once if they are the same."""
    return sorted({0, len(ranks) - 1})


_MIB: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, Number])

PROFILE = GalvatronProfile()
