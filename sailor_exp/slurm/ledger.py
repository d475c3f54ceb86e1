"""The ledger of submissions, which outlives the launcher: one small file for each submission, written whole.

The launcher writes the file before it calls sbatch, with the name of the jobs, and again with the id that sbatch
returns. A launcher that is killed in between leaves a file without an id; `recover` then asks SLURM for the name.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from sailor_exp.config.schema import Cell
from sailor_exp.errors import SailorExpError, StorageError
from sailor_exp.files.json_file import bytes_of
from sailor_exp.files.lock import locked
from sailor_exp.files.whole import write_whole
from sailor_exp.records.base import Frozen
from sailor_exp.records.record import Record
from sailor_exp.slurm import states
from sailor_exp.slurm.commands import SlurmCommandError
from sailor_exp.slurm.states import JobState
from sailor_exp.sweep.reuse import record_path

FORMAT: Final = "sailor-exp submission"
VERSION: Final = 1

_LONGEST_SUBMISSION_S = 1800.0
"""How long a launcher waits for another one that submits: sbatch may be slow, and a grid large."""


class LedgerError(SailorExpError):
    """A file of the ledger cannot be read. It is left as it is."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(f"{path}: {fault}. If its jobs no longer matter, remove it.")


class LedgerJob(Frozen):
    """One job: the paths of the records that it will write, and how often its cells were preempted before."""

    records: list[str]
    preemptions: int = 0


class Submission(Frozen):
    """One call of sbatch: a job, or an array of them in the order of its indices."""

    format: Literal["sailor-exp submission"] = FORMAT
    version: Literal[1] = VERSION
    name: str
    job_id: str | None
    jobs: list[LedgerJob]
    request: dict[str, Any]
    folder: str
    code: str
    commit: str | None
    dirty: bool | None
    submitted_at: str

    def id_of(self, index: int) -> str:
        """Return the id of one job."""
        if self.job_id is None:
            raise ValueError(f"submission {self.name} has no job id yet")
        return self.job_id if len(self.jobs) == 1 else f"{self.job_id}_{index}"

    def log_of(self, index: int) -> Path:
        """Return the log of one job, under the name that submitit gives it."""
        return Path(self.folder) / f"{self.id_of(index)}_0_log.out"


class Ledger:
    """The submissions of one submission directory."""

    def __init__(self, submission_dir: Path) -> None:
        self._directory = submission_dir / "ledger"

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock that keeps other launchers from submitting. Raises StorageError, LockError."""
        return locked(self._directory / "lock", timeout_s=_LONGEST_SUBMISSION_S)

    def write(self, submission: Submission) -> None:
        """Write a submission; a file of the same submission is replaced. Raises StorageError."""
        write_whole(self._path(submission), bytes_of(submission.model_dump(mode="json")))

    def forget(self, submission: Submission) -> None:
        """Remove a submission that sbatch refused. Raises StorageError."""
        path = self._path(submission)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(path, error) from error

    def read(self) -> list[Submission]:
        """Return all submissions, oldest first. Raises LedgerError for a file that cannot be read."""
        submissions = [_read(path) for path in self._directory.glob("*.json")]
        return sorted(submissions, key=lambda submission: (submission.submitted_at, submission.name))

    def _path(self, submission: Submission) -> Path:
        return self._directory / f"{submission.name}.json"


def latest_jobs(submissions: Sequence[Submission], records: Sequence[str]) -> list[tuple[Submission, int]]:
    """Return the job that was last submitted for each of these records; a job of several records appears once."""
    latest: dict[str, tuple[Submission, int]] = {}
    for submission in submissions:
        for index, job in enumerate(submission.jobs):
            latest |= dict.fromkeys(job.records, (submission, index))
    wanted = {(job[0].name, job[1]): job for record, job in latest.items() if record in set(records)}
    return list(wanted.values())


def _read(path: Path) -> Submission:
    try:
        return Submission.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise LedgerError(path, f"cannot be read as a {FORMAT}: {first}") from error


@dataclass(frozen=True, kw_only=True)
class Known:
    """A job of the ledger. `cells`: places in the grid that it will measure; `state`: None where SLURM lists no job."""

    job_id: str
    cells: tuple[int, ...]
    preemptions: int
    log: Path
    state: JobState | None

    @property
    def active(self) -> bool:
        """Whether the job is queued or running."""
        return self.state is not None and not self.state.ended


def known_jobs(ledger: Ledger, cells: Sequence[Cell], places: Sequence[int]) -> list[Known]:
    """Return the jobs that were last submitted for the cells at `places`.

    Raises LedgerError, and SlurmCommandError if squeue does not answer: the queued jobs are then unknown.
    """
    place_of = {record_key(cells[place]): place for place in places}
    latest = latest_jobs([submission for submission in ledger.read() if submission.job_id], list(place_of))
    answer = states.ask([submission.id_of(index) for submission, index in latest])
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
        for submission, index in latest
    ]


def recover(ledger: Ledger) -> None:
    """Write the ids of submissions whose launcher was killed before it wrote them; forget those without jobs.

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
    """Return the key of a cell in the ledger: the absolute path of its record."""
    return str(record_path(cell).absolute())


def made_in(record: Record[Any], job_id: str) -> bool:
    """Whether the cell of the record ended in this job."""
    return job_variables(job_id).items() <= record.provenance.slurm.items()


def job_variables(job_id: str) -> Mapping[str, str]:
    """Return the variables of SLURM that name a job."""
    array, _, task = job_id.partition("_")
    return {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": task} if task else {"SLURM_JOB_ID": array}
