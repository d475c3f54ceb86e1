"""Results of `profile=galvatron`: memory of small models on each stage, and Galvatron's extra file.

Format: eth-easl/sailor at cf2c8e3, `memory_profile.json` before its exporter adds to it, made in the way of
PKU-DAIR/Hetu-Galvatron, galvatron/core/profiler.py: of the first and the last rank
{"{pp}_{tp}_{dp}": {"layernum[n]_bsz1_rank{r}_{ms|act|act_peak}": MiB}}.
`ms` is model states. sailor_exp/export/galvatron_memory.py reads it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.extra_file import bring_up_to_date
from sailor_exp.profiles.galvatron.measurement import StageMemory, StagesMeasurement
from sailor_exp.profiles.galvatron.payload import StageBytes
from sailor_exp.profiles.profile import Profile
from sailor_exp.records.record import Record
from sailor_exp.units import MIB, readable_bytes

FILE = "memory_profile.json"


class GalvatronProfile(Profile):
    """One sample: Galvatron multiplies by the microbatch itself. A strategy without numbers is absent from the file."""

    name = "galvatron"
    keys = ("pp", "tp")
    columns = ("pp", "tp", "layers", "rank", "model states", "activations", "peak above states")
    legend = (
        "Bytes of one rank that trains models of so many layers at one sample: parameters, gradients and optimizer\n"
        "states after the backward; what the forward left; the highest of forward and backward above the states."
    )

    def infeasibility(self, cell: Cell) -> str | None:
        ranks, gpus = cell.pp * cell.tp, cell.vm.gpus
        if ranks <= gpus:
            return None
        return f"pp={cell.pp} tp={cell.tp} takes {ranks} GPUs; vm={gpus} has {gpus}"

    def content(self, cell: Cell, ranks: Sequence[StageBytes]) -> dict[str, Any]:  # noqa: ARG002
        by_num_layers = {
            str(num_layers): [StageMemory(**rank.counts[num_layers]) for rank in ranks]
            for num_layers in ranks[0].counts
        }
        return {"measurement": StagesMeasurement(by_num_layers=by_num_layers)}

    def written(self, record: Record, profile_dir: Path) -> None:
        bring_up_to_date(lambda _: FILE, record, profile_dir, file_content)

    def one_line(self, record: Record) -> str:
        num_layers, ranks = max(_of(record).by_num_layers.items(), key=lambda item: int(item[0]))
        ends = " and ".join(readable_bytes(ranks[rank].model_states_bytes) for rank in _end_ranks(ranks))
        return f"{num_layers} layers: model states {ends}"

    def rows(self, record: Record) -> Iterator[list[str]]:
        head = [str(record.identity.pp), str(record.identity.tp)]
        for num_layers, ranks in _of(record).by_num_layers.items():
            for rank in _end_ranks(ranks):
                figures = ranks[rank]
                counts = (figures.model_states_bytes, figures.activation_bytes, figures.activation_peak_bytes)
                yield [*head, num_layers, str(rank), *map(readable_bytes, counts)]
                head = ["", ""]


def file_content(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return {strategy: {key: MiB}} of the records with numbers, by rising pp and tp."""
    cells = {(made.identity.pp or 0, made.identity.tp or 0): made for made in records if made.measurement is not None}
    return {f"{pp}_{tp}_1": dict(_figures(_of(made))) for (pp, tp), made in sorted(cells.items())}


def _figures(measured: StagesMeasurement) -> Iterator[tuple[str, float]]:
    for num_layers, ranks in measured.by_num_layers.items():
        for rank in _end_ranks(ranks):
            stem, figures = f"layernum[{num_layers}]_bsz1_rank{rank}", ranks[rank]
            yield f"{stem}_ms", figures.model_states_bytes / MIB
            yield f"{stem}_act", figures.activation_bytes / MIB
            yield f"{stem}_act_peak", figures.activation_peak_bytes / MIB


def _end_ranks(ranks: Sequence[StageMemory]) -> list[int]:
    """Return the first and the last rank, which are one where there is no other."""
    return sorted({0, len(ranks) - 1})


def _of(record: Record) -> StagesMeasurement:
    if not isinstance(record.measurement, StagesMeasurement):
        raise TypeError(f"{record.file_name} is no record of stages")
    return record.measurement


PROFILE = GalvatronProfile()
