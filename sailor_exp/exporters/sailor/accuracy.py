"""Holds the records of a directory against real training steps: `python gather.py check=true`.

Records are never changed. What is too far off is marked in the table that is printed and in the file that is written.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sailor_exp.config.schema import GatherConfig
from sailor_exp.profiles.check.comparison import (
    PEAK,
    Comparison,
    PredictedQuantity,
    PredictionRow,
    PredictionSource,
    comparisons,
    earlier,
)
from sailor_exp.profiles.check.measurement import QUANTITIES
from sailor_exp.profiles.check.profile import check_of, earlier_record
from sailor_exp.records import files as record_files
from sailor_exp.records.identity import METHOD, Identity
from sailor_exp.records.record import Outcome, Record
from sailor_exp.units import readable_bytes, readable_seconds

JUDGED = ("total", PEAK)
"""Quantities that mark a record: a planner goes by the whole step and by the memory."""


@dataclass(frozen=True, kw_only=True)
class CheckedCell:
    """One cell, whose training steps were measured, and what its records predict of them.

    check_record: file of the measured steps. rows: by source and quantity.
    """

    identity: Identity
    check_record: str
    rows: tuple[Comparison, ...]

    def marked(self, limit: float) -> list[Comparison]:
        """Rows that are judged and further off than the limit."""
        return [row for row in self.rows if row.quantity in JUDGED and abs(row.error) > limit]

    def record_of(self, row: Comparison) -> str:
        """Return the file that a row's prediction comes from."""
        return row.record or self.check_record


def checked_cells(asked: GatherConfig) -> Iterator[CheckedCell]:
    """Cells of what is gathered with an ok record of `profile=check` of today's method, in rising order.

    What is predicted from `profile=layers` goes by the records that are there now. Raises RecordError.
    """
    profile_dir = Path(asked.profile_dir)
    checks = [made for _, made in record_files.read_all(profile_dir, "check") if _usable(made, asked)]
    layers = [made for _, made in record_files.read_all(profile_dir, "layers")] if checks else []
    for made in sorted(checks, key=lambda made: tuple(made.identity.cell_keys.values())):
        yield _checked(made, layers)


def as_csv(cells: Iterable[CheckedCell], limit: float) -> bytes:
    """Return a row for each cell, source and quantity, UTF-8, with a header; absent is an empty field.

    Seconds, for peak_bytes bytes. Errors are predicted / measured - 1, half-widths those of 95 % intervals: relative,
    of an error in its own unit. `above_limit`: whether the record is marked for it; empty where it is not judged.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in cells:
        own = {"model": cell.identity.subject, "gpu": cell.identity.gpu["name"], **cell.identity.cell_keys}
        for row in cell.rows:
            above = abs(row.error) > limit if row.quantity in JUDGED else None
            writer.writerow(
                {**own, **asdict(row), "record": cell.record_of(row), "check_record": cell.check_record,
                 "limit": limit, "above_limit": above}
            )  # fmt: skip
    return text.getvalue().encode()


def as_text(cells: Sequence[CheckedCell], limit: float) -> str:
    """Return the table for people: a line for each cell and source; `!` marks what is above the limit."""
    head = ["cell", "predicted from", *(f"{name} measured, error" for name in _SHOWN)]
    lines = [head]
    for cell in cells:
        name = " ".join(f"{key}={value}" for key, value in cell.identity.cell_keys.items())
        for source in dict.fromkeys(row.source for row in cell.rows):
            of_source = {row.quantity: row for row in cell.rows if row.source == source}
            lines.append([name, source, *(_shown(of_source[quantity], limit) for quantity in _SHOWN)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(f.ljust(w) for f, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def complaints(cells: Iterable[CheckedCell], limit: float) -> list[str]:
    """Name the records that are marked, and what to do about them."""
    found = []
    for cell in cells:
        name = " ".join(f"{key}={value}" for key, value in cell.identity.cell_keys.items())
        for row in cell.marked(limit):
            advice = (
                "measure the cell again (force=true) on a machine that does nothing else"
                if row.source == "earlier"
                else "look at docs/accuracy.md for what such an error comes from"
            )
            found.append(
                f"{cell.record_of(row)} is {100 * row.error:+.1f}% off in {row.quantity} of {name}, "
                f"above check_limit={limit:g}: {advice}"
            )
    return found


def prediction_rows(cells: Iterable[CheckedCell]) -> list[PredictionRow]:
    """Return what the report shows of some cells."""
    return [
        PredictionRow(
            **{key: cell.identity.cell_keys[key] for key in ("tp", "mbs", "pp", "num_microbatches")},
            quantity=_QUANTITIES[row.quantity],
            predicted=row.predicted,
            predicted_half_width=row.predicted_half_width,
            measured=row.measured,
            measured_half_width=row.measured_half_width,
            error_half_width=row.error_half_width,
            source=_SOURCES[row.source],
            record=cell.check_record,
        )
        for cell in cells
        for row in cell.rows
    ]


_QUANTITIES = {PEAK: PredictedQuantity.peak_memory} | {quantity: PredictedQuantity(quantity) for quantity in QUANTITIES}

_SOURCES = {"interleaved": PredictionSource.interleaved, "earlier": PredictionSource.earlier_record}

_SHOWN = ("total", "forward", "backward", "update", PEAK)

COLUMNS = (
    "model", "gpu", "pp", "tp", "mbs", "num_microbatches",
    *(field.name for field in fields(Comparison)),
    "check_record", "limit", "above_limit",
)  # fmt: skip


def _usable(made: Record, asked: GatherConfig) -> bool:
    identity = made.identity
    found = (identity.subject, identity.gpu["name"], identity.precision, identity.optimizer, identity.attention)
    gathered = (asked.model.name, asked.gpu.name, asked.precision.value, asked.optimizer.value, asked.attention.value)
    return made.outcome is Outcome.ok and identity.method == METHOD and found == gathered


def _checked(made: Record, layers: Sequence[Record]) -> CheckedCell:
    check = check_of(made)
    of_the_chain = [each for each in check.predictions if each.source == "interleaved"]
    before = earlier_record(made.identity, layers)
    predictions = [*of_the_chain, *([earlier(check, before)] if before else [])]
    return CheckedCell(identity=made.identity, check_record=made.file_name, rows=tuple(comparisons(check, predictions)))


def _shown(row: Comparison, limit: float) -> str:
    measured = readable_bytes(int(row.measured)) if row.quantity == PEAK else readable_seconds(row.measured)
    spread = "" if row.error_half_width is None else f" ±{100 * row.error_half_width:.1f}"
    mark = " !" if row.quantity in JUDGED and abs(row.error) > limit else ""
    return f"{measured} {100 * row.error:+.1f}%{spread}{mark}"
