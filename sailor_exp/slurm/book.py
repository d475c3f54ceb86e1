"""Which job each cell of a grid was last submitted in, and what SLURM says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sailor_exp.config import Cell
from sailor_exp.record import Record
from sailor_exp.slurm import states
from sailor_exp.slurm.commands import SlurmCommandError
from sailor_exp.slurm.ledger import Ledger, latest_jobs
from sailor_exp.slurm.states import JobState
from sailor_exp.sweep import record_path


@dataclass(frozen=True, kw_only=True)
class Known:
    """A job of the ledger. `cells`: those of the grid that it is to measure; `state`: None where SLURM forgot it."""

    job_id: str
    cells: tuple[int, ...]
    preemptions: int
    log: Path
    state: JobState | None

    @property
    def active(self) -> bool:
        """Whether it is queued or running."""
        return self.state is not None and not self.state.ended


def known_jobs(ledger: Ledger, cells: Sequence[Cell], places: Sequence[int]) -> list[Known]:
    """Return the jobs last submitted for the cells at `places`.

    Raises SlurmCommandError if squeue does not answer: what is queued is then unknown. LedgerError.
    """
    place_of = {record_key(cells[place]): place for place in places}
    found = latest_jobs([each for each in ledger.read() if each.job_id], list(place_of))
    answer = states.ask([submission.id_of(index) for submission, index in found])
    if answer.squeue_fault is not None:
        raise SlurmCommandError("squeue", f"{answer.squeue_fault}; what is queued is unknown, so nothing was done")
    return [
        Known(
            job_id=submission.id_of(index),
            cells=tuple(place_of[key] for key in submission.jobs[index].records if key in place_of),
            preemptions=submission.jobs[index].preemptions,
            log=submission.log_of(index),
            state=answer.states.get(submission.id_of(index)),
        )
        for submission, index in found
    ]


def recover(ledger: Ledger) -> None:
    """Find the ids of submissions whose launcher was killed before it could write them down.

    Raises SlurmCommandError, LedgerError, StorageError.
    """
    for submission in ledger.read():
        if submission.job_id is not None:
            continue
        job_id = states.find(submission.name)
        if job_id is None:
            ledger.forget(submission)
        else:
            ledger.write(submission.model_copy(update={"job_id": job_id}))


def record_key(cell: Cell) -> str:
    """Return what stands for a cell in the ledger: where its record is to be."""
    return str(record_path(cell).absolute())


def made_in(record: Record, job_id: str) -> bool:
    """Whether the record tells of a cell of this job."""
    return job_variables(job_id).items() <= record.provenance.slurm.items()


def job_variables(job_id: str) -> Mapping[str, str]:
    """Return the variables of SLURM's that name a job."""
    array, _, task = job_id.partition("_")
    return {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": task} if task else {"SLURM_JOB_ID": array}
