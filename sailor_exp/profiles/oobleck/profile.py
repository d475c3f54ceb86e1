"""`profile=oobleck`: what each kind of part keeps for its backward, and Oobleck's extra file.

Format: eth-easl/sailor at cf2c8e3, `oobleck_profile_{model}_{gpu}.json`: {tp: {layer: activation_bytes}} of one sample,
read by sailor/Planner/baselines/Oobleck.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell
from sailor_exp.files.json_file import NotNegative, WholeKey, checked, in_order, read_object
from sailor_exp.profiles.extra_file import bring_up_to_date
from sailor_exp.profiles.oobleck.measurement import ActivationMeasurement
from sailor_exp.profiles.part_bytes import PartBytes, by_layer, largest
from sailor_exp.profiles.profile import Column, Profile
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes

ActivationBytes = dict[int, dict[int, float]]
"""By tensor parallel degree and layer id, at microbatch 1."""


class OobleckProfile(Profile[PartBytes, ActivationMeasurement]):
    """Measures one sample: Oobleck multiplies by the microbatch itself."""

    name = "oobleck"
    method = 2
    schema = ActivationMeasurement
    keys = ("tp",)
    columns = (Column("tp"), Column("part", "left"), Column("activations"))
    legend = "Bytes that one rank keeps of a part for its backward, the loss included, at one sample."
    tidy_columns: ClassVar[Mapping[str, type]] = {"part": str, "quantity": str, "value": float, "unit": str}

    def measurement(self, cell: Cell, shares: Sequence[PartBytes]) -> ActivationMeasurement:
        return ActivationMeasurement(
            layers=kinds_by_layer_id(cell.model), act_mem_bytes=largest(shares, "act_mem_bytes")
        )

    def written(self, record: Record[ActivationMeasurement], profile_dir: Path) -> None:
        bring_up_to_date(_file_name, record.identity, profile_dir, ActivationMeasurement, file_content)

    def one_line(self, measured: ActivationMeasurement) -> str:
        return f"{readable_bytes(sum(by_layer(measured.layers, measured.act_mem_bytes).values()))} in all layers"

    def rows(self, record: Record[ActivationMeasurement]) -> Iterator[list[str]]:
        for kind, kept in record.measured.act_mem_bytes.items():
            yield [str(record.identity.tp), kind, readable_bytes(kept)]

    def tidy(self, measured: ActivationMeasurement) -> Iterator[Mapping[str, Any]]:
        for kind, kept in measured.act_mem_bytes.items():
            yield {"part": kind, "quantity": "kept for the backward", "value": kept, "unit": "bytes"}


def _file_name(identity: Identity) -> str:
    return f"oobleck_profile_{identity.subject}_{identity.gpu_name}.json"


def file_content(records: Sequence[Record[ActivationMeasurement]]) -> dict[str, dict[str, int]]:
    """Return {tp: {layer: activation_bytes}} of ok records, in rising order."""
    cells = {record.identity.tp or 0: record.measured for record in records}
    return {str(tp): by_layer(measured.layers, measured.act_mem_bytes) for tp, measured in sorted(cells.items())}


def read_file(path: Path) -> ActivationBytes:
    """Read Oobleck's extra file. Raises FileNotFoundError, and DamagedFileError for a file of another shape."""
    content = checked(path, read_object(path), _FILE)
    return in_order({tp: in_order(layers) for tp, layers in content.items()})


_FILE: TypeAdapter[ActivationBytes] = TypeAdapter(dict[WholeKey, dict[WholeKey, NotNegative]])

PROFILE = OobleckProfile()
