"""Results of `profile=oobleck`: what each kind of part keeps for its backward, and Oobleck's extra file.

Format: eth-easl/sailor at cf2c8e3, `oobleck_profile_{model}_{gpu}.json`: {tp: {layer: activation_bytes}} of one sample,
read by sailor/Planner/baselines/Oobleck.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell
from sailor_exp.profiles.extra_file import bring_up_to_date
from sailor_exp.profiles.oobleck.measurement import ActivationMeasurement
from sailor_exp.profiles.part_bytes import KindBytes, by_layer, largest
from sailor_exp.profiles.profile import Profile
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes


class OobleckProfile(Profile):
    """One sample: Oobleck multiplies by the microbatch itself."""

    name = "oobleck"
    keys = ("tp",)
    columns = ("tp", "part", "activations")
    legend = "Bytes that one rank keeps of a part for its backward, the loss included, at one sample."

    def content(self, cell: Cell, ranks: Sequence[KindBytes]) -> dict[str, Any]:
        return {
            "layers": kinds_by_layer_id(cell.model),
            "measurement": ActivationMeasurement(act_mem_bytes=largest(ranks, "act_mem_bytes")),
        }

    def written(self, record: Record, profile_dir: Path) -> None:
        bring_up_to_date(_file_name, record, profile_dir, file_content)

    def one_line(self, record: Record) -> str:
        return f"{readable_bytes(sum(by_layer(record, _of(record).act_mem_bytes).values()))} in all layers"

    def rows(self, record: Record) -> Iterator[list[str]]:
        for kind, kept in _of(record).act_mem_bytes.items():
            yield [str(record.identity.tp), kind, readable_bytes(kept)]


def _file_name(record: Record) -> str:
    return f"oobleck_profile_{record.identity.subject}_{record.identity.gpu['name']}.json"


def file_content(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """Return {tp: {layer: activation_bytes}} of the records with numbers, in rising order."""
    cells = {made.identity.tp or 0: made for made in records if made.measurement is not None}
    return {str(tp): by_layer(made, _of(made).act_mem_bytes) for tp, made in sorted(cells.items())}


def _of(record: Record) -> ActivationMeasurement:
    if not isinstance(record.measurement, ActivationMeasurement):
        raise TypeError(f"{record.file_name} is no record of activations")
    return record.measurement


PROFILE = OobleckProfile()
