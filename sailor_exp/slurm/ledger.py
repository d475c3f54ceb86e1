"""What was submitted, written down so that a launcher may be gone: one small file a submission, written whole.

It is written before sbatch is called, with the name that the jobs get, and again with the id that sbatch answers. A
launcher that was killed in between leaves a file without an id; SLURM is then asked for the name.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sailor_exp.errors import SailorExpError, StorageError
from sailor_exp.storage import write_whole

FORMAT: Final = "sailor-exp submission"
VERSION: Final = 1


class LedgerError(SailorExpError):
    """A file of the ledger that cannot be read. It is left as it is."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(f"{path}: {fault}. If its jobs no longer matter, remove it.")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LedgerJob(_Frozen):
    """One job: the paths of the records that it is to make, and how often its cells were preempted before."""

    records: list[str]
    preemptions: int = 0


class Submission(_Frozen):
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
        """Return the log of one job: submitit's name."""
        return Path(self.folder) / f"{self.id_of(index)}_0_log.out"


class Ledger:
    """The submissions of one submission directory."""

    def __init__(self, submission_dir: Path) -> None:
        self._directory = submission_dir / "ledger"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other launchers from submitting meanwhile. Raises StorageError."""
        path = self._directory / "lock"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StorageError(path, error) from error

    def write(self, submission: Submission) -> None:
        """Write a submission, or what is now known of it. Raises StorageError."""
        write_whole(self._path(submission), (json.dumps(submission.model_dump(mode="json"), indent=1) + "\n").encode())

    def forget(self, submission: Submission) -> None:
        """Remove a submission that sbatch refused."""
        self._path(submission).unlink(missing_ok=True)

    def read(self) -> list[Submission]:
        """Return all submissions, oldest first. Raises LedgerError for a file that cannot be read."""
        submissions = [_read(path) for path in self._directory.glob("*.json")]
        return sorted(submissions, key=lambda submission: (submission.submitted_at, submission.name))

    def _path(self, submission: Submission) -> Path:
        return self._directory / f"{submission.name}.json"


def latest_jobs(submissions: Sequence[Submission], records: Sequence[str]) -> list[tuple[Submission, int]]:
    """Return the jobs that were last submitted for any of these records, each once, oldest first."""
    latest: dict[str, tuple[Submission, int]] = {}
    for submission in submissions:
        for index, job in enumerate(submission.jobs):
            latest |= dict.fromkeys(job.records, (submission, index))
    found = {(job[0].name, job[1]): job for record, job in latest.items() if record in set(records)}
    return list(found.values())


def _read(path: Path) -> Submission:
    try:
        return Submission.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise LedgerError(path, f"cannot be read as a {FORMAT}: {first}") from error
