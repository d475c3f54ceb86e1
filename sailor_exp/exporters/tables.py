"""All records of a directory as one tidy table: a row for each part and phase of a cell, for pandas, polars, DuckDB.

A cell without numbers has one row, whose numbers are empty. Nothing is left out and nothing refused: the columns say
what each row was measured with.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from sailor_exp.errors import MissingPackageError
from sailor_exp.profiles.layers.measurement import PartMemory
from sailor_exp.records.record import Record

_PHASES = ("forward", "backward", "update", "overhead")

COLUMNS: Final[dict[str, type]] = {
    "model": str,
    "gpu": str,
    "gpu_memory_gb": float,
    "tp": int,
    "mbs": int,
    "precision": str,
    "optimizer": str,
    "attention": str,
    "profile": str,
    "method": int,
    "outcome": str,
    "message": str,
    "part": str,
    "phase": str,
    "median_s": float,
    "value_s": float,
    "relative_half_width": float,
    "skew_s": float,
    "count": int,
    "converged": bool,
    **dict.fromkeys(PartMemory.model_fields, int),
    "started_at": str,
    "finished_at": str,
    "host": str,
    "device": str,
    "commit": str,
    "dirty": bool,
    "torch": str,
    "deepspeed": str,
    "megatron_core": str,
    "record": str,
}
"""Columns and their types; every one may be empty. `_s` is seconds, `count` the steps behind a statistic."""


def as_csv(records: Iterable[tuple[Path, Record]]) -> bytes:
    """Return the table as comma-separated values, UTF-8, with a header; empty is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(records))
    return text.getvalue().encode()


def as_parquet(records: Iterable[tuple[Path, Record]]) -> bytes:
    """Return the table as Parquet. Raises MissingPackageError where pyarrow is not installed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(asked="exporter=parquet", package="pyarrow", extra="parquet") from error
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    content = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows(records)), schema=schema), content)
    return content.getvalue()


def rows(records: Iterable[tuple[Path, Record]]) -> Iterator[dict[str, Any]]:
    """Return the rows of the table, by COLUMNS; a column that does not apply is absent."""
    for path, record in records:
        cell = _cell_columns(path, record)
        if record.statistics is None or record.memory is None:
            yield cell
            continue
        for part, phases in record.statistics.kinds.items():
            memory = record.memory.kinds[part].model_dump() if part in record.memory.kinds else {}
            for phase in _PHASES:
                timing = getattr(phases, phase)
                yield {
                    **cell,
                    "part": part,
                    "phase": phase,
                    "median_s": timing.median_s,
                    "value_s": timing.value_s,
                    "relative_half_width": timing.relative_half_width,
                    "skew_s": timing.skew_s,
                    "count": record.statistics.steps,
                    "converged": record.statistics.converged,
                    **memory,
                }


def _cell_columns(path: Path, record: Record) -> dict[str, Any]:
    identity, provenance = record.identity, record.provenance
    return {
        "model": identity.subject,
        "gpu": identity.gpu["name"],
        "gpu_memory_gb": identity.gpu.get("memory_gb"),
        "tp": identity.tp,
        "mbs": identity.mbs,
        "precision": identity.precision,
        "optimizer": identity.optimizer,
        "attention": identity.attention,
        "profile": identity.profile,
        "method": identity.method,
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
