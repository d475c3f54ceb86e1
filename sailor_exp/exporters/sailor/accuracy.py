"""Compares the records of a directory with real training steps: `python gather.py check=true`.

The records stay as they are. The printed table and the written file mark each error above the limit.
"""

import csv
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sailor_exp.config.schema import GatherConfig
from sailor_exp.profiles.check.comparison import PEAK, Comparison, comparisons, earlier
from sailor_exp.profiles.check.measurement import CheckMeasurement
from sailor_exp.profiles.check.profile import earlier_record
from sailor_exp.profiles.identity import asked_identity
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records.files import read_all
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome, Record
from sailor_exp.records.selection import belongs, refuse_strangers, select
from sailor_exp.terminal import aligned
from sailor_exp.units import readable_bytes, readable_seconds

JUDGED = ("total", PEAK)
"""Quantities whose error may mark a record: planners use the whole step and the memory."""

_SHOWN = ("total", "forward", "backward", "update", PEAK)
_COLUMNS = (
    "model", "gpu", "pp", "tp", "mbs", "num_microbatches",
    *(field.name for field in fields(Comparison)),
    "check_record", "limit", "above_limit",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CheckedCell:
    """A cell with measured training steps, and the predictions of them from its records.

    check_record: the file of the measured steps. rows: by source and quantity.
    """

    identity: Identity
    check_record: str
    rows: tuple[Comparison, ...]

    def marked(self, limit: float) -> list[Comparison]:
        """Return the rows of judged quantities whose error is above the limit."""
        return [row for row in self.rows if row.quantity in JUDGED and abs(row.error) > limit]

    def record_of(self, row: Comparison) -> str:
        """Return the file that a row's prediction comes from."""
        return row.record or self.check_record


def checked_cells(config: GatherConfig) -> Iterator[CheckedCell]:
    """Yield the gathered cells that have an ok record of `profile=check`, in rising order.

    Predictions from `profile=layers` use the present records. Warns of checks by an older method.
    Raises MixedRecordsError for a check of another configuration, RecordError.
    """
    checks = list(read_all(Path(config.profile_dir), "check", CheckMeasurement))
    refuse_strangers([(path, record.identity) for path, record in checks], asked_identity(config, "check"))
    yield from _cells(config, [record for _, record in checks])


def agreeing_cells(config: GatherConfig) -> Iterator[CheckedCell]:
    """Yield the same cells as `checked_cells`, but leave out the checks of another configuration, and warn of them.

    Raises RecordError.
    """
    checks = [record for _, record in read_all(Path(config.profile_dir), "check", CheckMeasurement)]
    agreeing = [record for record in checks if belongs(record.identity, asked_identity(config, "check"))]
    if others := len(checks) - len(agreeing):
        warnings.warn(f"{others} checks of another configuration were left out", stacklevel=2)
    yield from _cells(config, agreeing)


def _cells(config: GatherConfig, checks: Sequence[Record[CheckMeasurement]]) -> Iterator[CheckedCell]:
    profile_dir = Path(config.profile_dir)
    selection = select(checks)
    for warning in selection.warnings(asked_identity(config, "check").method):
        warnings.warn(f"check: {warning}", stacklevel=2)
    layers = [record for _, record in read_all(profile_dir, "layers", LayersMeasurement)] if checks else []
    for record in selection.counting:
        if record.outcome is Outcome.ok:
            yield _checked(record, layers)


def as_csv(cells: Iterable[CheckedCell], limit: float) -> bytes:
    """Return a row for each cell, source and quantity, UTF-8, with a header; an absent value is an empty field.

    Values are seconds, those of peak_bytes bytes. Errors are predicted / measured - 1. Half-widths are of 95 %
    intervals: relative, that of an error in the error's own unit. `above_limit`: whether the row marks its record;
    empty where its quantity is not judged.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in cells:
        cell_columns = {"model": cell.identity.subject, "gpu": cell.identity.gpu_name, **cell.identity.cell_keys}
        for row in cell.rows:
            above_limit = abs(row.error) > limit if row.quantity in JUDGED else None
            writer.writerow(
                {**cell_columns, **asdict(row), "record": cell.record_of(row), "check_record": cell.check_record,
                 "limit": limit, "above_limit": above_limit}
            )  # fmt: skip
    return text.getvalue().encode()


def as_text(cells: Sequence[CheckedCell], limit: float) -> str:
    """Return the table for a terminal: a line for each cell and source; `!` marks an error above the limit."""
    lines = [["cell", "predicted from", *(f"{name} measured, error" for name in _SHOWN)]]
    for cell in cells:
        for source in dict.fromkeys(row.source for row in cell.rows):
            of_source = {row.quantity: row for row in cell.rows if row.source == source}
            figures = (_shown(of_source[quantity], limit) for quantity in _SHOWN)
            lines.append([cell.identity.cell_name, source, *figures])
    return aligned(lines)


def complaints(cells: Iterable[CheckedCell], limit: float) -> list[str]:
    """Return a sentence for each marked row: its record, its error, and the advice."""
    return [_complaint(cell, row, limit) for cell in cells for row in cell.marked(limit)]


def _complaint(cell: CheckedCell, row: Comparison, limit: float) -> str:
    advice = (
        "measure the cell again (force=true) on a machine that does nothing else"
        if row.source == "earlier"
        else "look at docs/accuracy.md for what such an error comes from"
    )
    return (
        f"{cell.record_of(row)} is {100 * row.error:+.1f}% off in {row.quantity} of {cell.identity.cell_name}, "
        f"above check_limit={limit:g}: {advice}"
    )


def _checked(record: Record[CheckMeasurement], layers: Sequence[Record[LayersMeasurement]]) -> CheckedCell:
    check = record.measured
    interleaved = [prediction for prediction in check.predictions if prediction.source == "interleaved"]
    layers_record = earlier_record(record.identity, layers)
    predictions = [*interleaved, *([earlier(check, layers_record)] if layers_record else [])]
    rows = tuple(comparisons(check, predictions))
    return CheckedCell(identity=record.identity, check_record=record.file_name, rows=rows)


def _shown(row: Comparison, limit: float) -> str:
    measured = readable_bytes(int(row.measured)) if row.quantity == PEAK else readable_seconds(row.measured)
    spread = "" if row.error_half_width is None else f" ±{100 * row.error_half_width:.1f}"
    mark = " !" if row.quantity in JUDGED and abs(row.error) > limit else ""
    return f"{measured} {100 * row.error:+.1f}%{spread}{mark}"
