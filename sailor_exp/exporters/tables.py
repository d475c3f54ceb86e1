"""All records of a directory as one tidy table, for pandas, polars, DuckDB.

The table has all records: each number of each profile has a row, and the columns hold what it was measured with. A
cell without numbers has one row, whose numbers are empty.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sailor_exp.config.schema import CELL_KEYS
from sailor_exp.exporters.exporter import Export
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.plausible.rating import SHARES, shares
from sailor_exp.exporters.sailor.exporter import nothing_measured
from sailor_exp.profiles.registry import NAMES, profile_named
from sailor_exp.records.files import read_every
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome, Record

Render = Callable[[Mapping[str, type], Iterable[Mapping[str, Any]]], bytes]
"""A function that returns columns and rows as the content of a file."""


def columns() -> dict[str, type]:
    """Return the columns and their types; every one may be empty.

    `_s` means seconds, `_bytes` bytes. The profiles define the columns of numbers; `share_of_peak` and
    `share_of_bandwidth` follow from those of `layers`.
    """
    return {
        **dict.fromkeys(("model", "gpu"), str),
        "gpu_memory_gb": float,
        **dict.fromkeys(CELL_KEYS, int),
        **dict.fromkeys(("precision", "optimizer", "attention", "profile"), str),
        "method": int,
        **dict.fromkeys(("options", "outcome", "message"), str),
        **_numbers(),
        **SHARES,
        **dict.fromkeys(("started_at", "finished_at", "host", "device", "commit"), str),
        "dirty": bool,
        **dict.fromkeys(("torch", "deepspeed", "megatron_core", "record"), str),
    }


def rows(records: Iterable[tuple[Path, Record[Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table; a column that does not apply is absent."""
    for path, record in records:
        cell = _cell_columns(path, record)
        if record.outcome is not Outcome.ok:
            yield cell
            continue
        for numbers in profile_named(record.identity.profile).tidy(record.measured):
            yield {**cell, **numbers, **_shares(record.identity, numbers)}


def table(inputs: Inputs, ending: str, render: Render) -> Export:
    """Return the table of every record below profile_dir as one file. Raises NothingMeasuredError, RecordError."""
    records = list(read_every(Path(inputs.config.profile_dir), lambda name: profile_named(name).schema))
    if not records:
        raise nothing_measured(inputs)
    about_model = any(record.identity.model is not None for _, record in records)
    subject = inputs.model.name if about_model else records[0][1].identity.subject
    path = inputs.place.root / "tables" / subject / f"{inputs.gpu}.{ending}"
    count = "1 record" if len(records) == 1 else f"{len(records)} records"
    return Export(files={path: render(columns(), rows(records))}, summary=f"{count} in {path}")


def _numbers() -> dict[str, type]:
    types: dict[str, type] = {}
    for name in ("layers", *(name for name in NAMES if name != "layers")):
        for column, kind in profile_named(name).tidy_columns.items():
            if types.setdefault(column, kind) is not kind:
                raise TypeError(f"profile={name} fills the column {column} with {kind.__name__}")
    return types


def _shares(identity: Identity, numbers: Mapping[str, Any]) -> Mapping[str, float | None]:
    """Return the shares of the peak of a time of one part and phase; nothing for other numbers."""
    if identity.profile != "layers":
        return {}
    return shares(identity, numbers["part"], numbers["phase"], numbers["value_s"])


def _cell_columns(path: Path, record: Record[Any]) -> dict[str, Any]:
    identity, provenance = record.identity, record.provenance
    return {
        "model": identity.subject,
        "gpu": identity.gpu_name,
        "gpu_memory_gb": identity.gpu.get("memory_gb"),
        **identity.cell_keys,
        "precision": identity.precision,
        "optimizer": identity.optimizer,
        "attention": identity.attention,
        "profile": identity.profile,
        "method": identity.method,
        "options": _options(identity.options),
        "outcome": record.outcome.value,
        "message": record.ending.message if record.ending else None,
        "started_at": provenance.started_at,
        "finished_at": provenance.finished_at,
        "host": provenance.host,
        "device": ", ".join(dict.fromkeys(device.name for device in provenance.devices)) or None,
        "commit": provenance.commit,
        "dirty": provenance.dirty,
        "torch": provenance.versions.get("torch"),
        "deepspeed": provenance.versions.get("deepspeed"),
        "megatron_core": provenance.versions.get("megatron-core"),
        "record": path.name,
    }


def _options(options: Mapping[str, Any] | None) -> str | None:
    return " ".join(f"{key}={value}" for key, value in options.items()) if options else None
