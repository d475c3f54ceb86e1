"""`profile=varuna`: the peak memory of each kind of part alone, and Varuna's extra file.

Format: eth-easl/sailor at cf2c8e3, `varuna_profile_{model}_{gpu}.json`: {mbs: {tp: {layer: peak_bytes}}}, read by
sailor/Planner/baselines/Varuna.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell
from sailor_exp.files.json_file import NotNegative, WholeKey, checked, in_order, read_object
from sailor_exp.profiles.extra_file import bring_up_to_date
from sailor_exp.profiles.grids import Grid
from sailor_exp.profiles.part_bytes import PartBytes, by_layer, largest
from sailor_exp.profiles.profile import Column, Profile
from sailor_exp.profiles.varuna.measurement import PeakMeasurement
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes

PeakBytes = dict[int, dict[int, dict[int, float]]]
"""By microbatch, tensor parallel degree and layer id."""


class VarunaProfile(Profile[PartBytes, PeakMeasurement]):
    """The file does not have cells that ran out of memory."""

    name = "varuna"
    method = 2
    schema = PeakMeasurement
    keys = ("tp", "mbs")
    columns = (Column("tp"), Column("mbs"), Column("part", "left"), Column("between steps"), Column("peak"))
    legend = (
        "Bytes of one rank that holds this part alone: between steps, and at the highest moment of one with forward,\n"
        "backward and update."
    )
    tidy_columns: ClassVar[Mapping[str, type]] = {"part": str, "quantity": str, "value": float, "unit": str}

    def measurement(self, cell: Cell, shares: Sequence[PartBytes]) -> PeakMeasurement:
        return PeakMeasurement(
            layers=kinds_by_layer_id(cell.model),
            peak_bytes=largest(shares, "peak_bytes"),
            lasting_bytes=largest(shares, "lasting_bytes"),
        )

    def written(self, record: Record[PeakMeasurement], profile_dir: Path) -> None:
        bring_up_to_date(_file_name, record.identity, profile_dir, PeakMeasurement, file_content)

    def one_line(self, measured: PeakMeasurement) -> str:
        part, peak_bytes = max(measured.peak_bytes.items(), key=lambda part: part[1])
        return f"{part} {readable_bytes(peak_bytes)}"

    def rows(self, record: Record[PeakMeasurement]) -> Iterator[list[str]]:
        head = [str(record.identity.tp), str(record.identity.mbs)]
        for kind, peak in record.measured.peak_bytes.items():
            yield [*head, kind, readable_bytes(record.measured.lasting_bytes[kind]), readable_bytes(peak)]
            head = ["", ""]

    def tidy(self, measured: PeakMeasurement) -> Iterator[Mapping[str, Any]]:
        for quantity, by_kind in (("peak", measured.peak_bytes), ("lasting", measured.lasting_bytes)):
            for kind, count in by_kind.items():
                yield {"part": kind, "quantity": quantity, "value": count, "unit": "bytes"}

    def grids(self, vm: int) -> list[Grid]:
        """Return the microbatches up to 8, tensor parallel over a whole machine."""
        return [{"tp": [vm], "mbs": [1, 2, 4, 8]}]


def _file_name(identity: Identity) -> str:
    return f"varuna_profile_{identity.subject}_{identity.gpu_name}.json"


def file_content(records: Sequence[Record[PeakMeasurement]]) -> dict[str, dict[str, dict[str, int]]]:
    """Return {mbs: {tp: {layer: peak_bytes}}} of ok records, in rising order."""
    content: dict[str, dict[str, dict[str, int]]] = {}
    cells = {(record.identity.mbs, record.identity.tp): record.measured for record in records}
    for (mbs, tp), measured in sorted(cells.items()):
        content.setdefault(str(mbs), {})[str(tp)] = by_layer(measured.layers, measured.peak_bytes)
    return content


def read_file(path: Path) -> PeakBytes:
    """Read Varuna's extra file. Raises FileNotFoundError, and DamagedFileError for a file of another shape."""
    content = checked(path, read_object(path), _FILE)
    return in_order({mbs: in_order({tp: in_order(row) for tp, row in cells.items()}) for mbs, cells in content.items()})


_FILE: TypeAdapter[PeakBytes] = TypeAdapter(dict[WholeKey, dict[WholeKey, dict[WholeKey, NotNegative]]])

PROFILE = VarunaProfile()
