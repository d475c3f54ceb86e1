"""Results of `profile=varuna`: the peak memory of each kind of part alone, and Varuna's extra file.

Format: eth-easl/sailor at cf2c8e3, `varuna_profile_{model}_{gpu}.json`: {mbs: {tp: {layer: peak_bytes}}}, read by
sailor/Planner/baselines/Varuna.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell
from sailor_exp.profiles.extra_file import bring_up_to_date
from sailor_exp.profiles.part_bytes import KindBytes, by_layer, largest
from sailor_exp.profiles.profile import Profile
from sailor_exp.profiles.varuna.measurement import PeakMeasurement
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes


class VarunaProfile(Profile):
    """Cells that ran out of memory are absent from the file."""

    name = "varuna"
    keys = ("tp", "mbs")
    columns = ("tp", "mbs", "part", "between steps", "peak")
    legend = (
        "Bytes of one rank that holds this part alone: between steps, and at the highest moment of one with forward,\n"
        "backward and update."
    )

    def content(self, cell: Cell, ranks: Sequence[KindBytes]) -> dict[str, Any]:
        return {
            "layers": kinds_by_layer_id(cell.model),
            "measurement": PeakMeasurement(
                peak_bytes=largest(ranks, "peak_bytes"), lasting_bytes=largest(ranks, "lasting_bytes")
            ),
        }

    def written(self, record: Record, profile_dir: Path) -> None:
        bring_up_to_date(_file_name, record, profile_dir, file_content)

    def one_line(self, record: Record) -> str:
        largest_part = max(_of(record).peak_bytes.items(), key=lambda part: part[1])
        return f"{largest_part[0]} {readable_bytes(largest_part[1])}"

    def rows(self, record: Record) -> Iterator[list[str]]:
        head = [str(record.identity.tp), str(record.identity.mbs)]
        for kind, peak in _of(record).peak_bytes.items():
            yield [*head, kind, readable_bytes(_of(record).lasting_bytes[kind]), readable_bytes(peak)]
            head = ["", ""]


def _file_name(record: Record) -> str:
    return f"varuna_profile_{record.identity.subject}_{record.identity.gpu['name']}.json"


def file_content(records: Sequence[Record]) -> dict[str, dict[str, dict[str, int]]]:
    """Return {mbs: {tp: {layer: peak_bytes}}} of the records with numbers, in rising order."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    cells = {(made.identity.mbs, made.identity.tp): made for made in records if made.measurement is not None}
    for (mbs, tp), made in sorted(cells.items()):
        found.setdefault(str(mbs), {})[str(tp)] = by_layer(made, _of(made).peak_bytes)
    return found


def _of(record: Record) -> PeakMeasurement:
    if not isinstance(record.measurement, PeakMeasurement):
        raise TypeError(f"{record.file_name} is no record of peaks")
    return record.measurement


PROFILE = VarunaProfile()
