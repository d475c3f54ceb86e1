"""Shows the state of each cell of a grid and its job, and cancels the jobs. No record is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.identity import cell_keys, keys_of, several_profiles, subject
from sailor_exp.records.record import Record
from sailor_exp.slurm.commands import run
from sailor_exp.slurm.ledger import Known, Ledger, known_jobs, made_in, record_key, recover
from sailor_exp.sweep.reuse import record_of


@dataclass(frozen=True, kw_only=True)
class Row:
    """State of one cell, its job, a detail for people, and the log of a job that left no record."""

    cell: Cell
    state: str
    job_id: str
    detail: str
    log: Path | None = None


def rows(cells: Sequence[Cell], submission_dir: Path) -> list[Row]:
    """Return the state of each cell. Raises SlurmCommandError, LedgerError, RecordError."""
    known = known_jobs(Ledger(submission_dir), cells, range(len(cells)))
    job_of = {record_key(cells[place]): job for job in known for place in job.cells}
    return [_row(cell, job_of.get(record_key(cell))) for cell in cells]


def cancel(cells: Sequence[Cell], submission_dir: Path) -> list[str]:
    """Cancel the jobs of these cells that are queued or running, and return their ids.

    Raises SlurmCommandError, LedgerError, StorageError.
    """
    ledger = Ledger(submission_dir)
    with ledger.locked():
        recover(ledger)
        active = [job.job_id for job in known_jobs(ledger, cells, range(len(cells))) if job.active]
        if active:
            run(["scancel", *active])
    return active


def local_rows(cells: Sequence[Cell]) -> list[Row]:
    """Return the state of each cell from its record alone. Raises RecordError."""
    return [_row(cell, None) for cell in cells]


def print_rows(grid: Sequence[Row], page: Console) -> None:
    """Print a table of the grid, the logs of jobs without a record, and a line of counts."""
    table = Table(title="sweep", title_justify="left")
    cells = [row.cell for row in grid]
    keys, of_several = keys_of(cells), several_profiles(cells)
    for column in ("model", "gpu", *keys, "state", "job", ""):
        table.add_column(column, justify="right" if column in keys else "left")
    for row in grid:
        own = cell_keys(row.cell)
        table.add_row(
            subject(row.cell, of_several=of_several),
            row.cell.gpu.name,
            *(str(own.get(key, "")) for key in keys),
            row.state,
            row.job_id,
            escape(row.detail),
        )
    page.print(table)
    for log in dict.fromkeys(row.log for row in grid if row.log is not None):
        page.print(f"log: {log}", highlight=False, soft_wrap=True)
    states = [row.state for row in grid]
    page.print(", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)), highlight=False)


def _row(cell: Cell, job: Known | None) -> Row:
    if job is not None and job.active and job.state is not None:
        return Row(cell=cell, state=job.state.text, job_id=job.job_id, detail=job.state.reason or job.state.nodes or "")
    record = record_of(cell)
    if record is not None and (job is None or not record.outcome.broken or made_in(record, job.job_id)):
        detail = record.ending.message.splitlines()[0] if record.ending else _place_of(record)
        return Row(cell=cell, state=record.outcome.value, job_id=_job_of(record), detail=detail)
    if job is None:
        return Row(cell=cell, state="not submitted", job_id="", detail="")
    state = job.state.text if job.state is not None else "forgotten by SLURM"
    detail = "no record" if job.log.exists() else "no record and no log"
    return Row(cell=cell, state=state, job_id=job.job_id, detail=detail, log=job.log if job.log.exists() else None)


def _place_of(record: Record[Any]) -> str:
    """Return the nodes and the GPUs on which a cell was measured."""
    slurm = record.provenance.slurm
    parts = [slurm.get("SLURM_JOB_NODELIST"), f"GPUs {slurm.get('CUDA_VISIBLE_DEVICES')}"]
    return " ".join(part for part in parts[: 1 + ("CUDA_VISIBLE_DEVICES" in slurm)] if part)


def _job_of(record: Record[Any]) -> str:
    slurm = record.provenance.slurm
    if "SLURM_ARRAY_JOB_ID" in slurm:
        return f"{slurm['SLURM_ARRAY_JOB_ID']}_{slurm['SLURM_ARRAY_TASK_ID']}"
    return slurm.get("SLURM_JOB_ID", "")
