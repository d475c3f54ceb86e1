"""A sweep on SLURM: submits what is neither there nor queued nor running, and follows its jobs to the last cell."""

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.registry import profile_of
from sailor_exp.records import provenance
from sailor_exp.records.files import read
from sailor_exp.records.record import Ending, Outcome
from sailor_exp.slurm import code_copy, job, ledger, states, submission
from sailor_exp.slurm.commands import max_array_size
from sailor_exp.slurm.endings import ending_of, lost, outcome_of
from sailor_exp.slurm.ledger import Ledger, LedgerJob, Submission
from sailor_exp.slurm.options import SlurmOptions
from sailor_exp.slurm.request import Request, exports
from sailor_exp.slurm.states import Answer, JobState
from sailor_exp.slurm.submission import Array, Job, SubmissionRefused
from sailor_exp.sweep.display import LiveDisplay
from sailor_exp.sweep.reuse import former, record_path
from sailor_exp.sweep.sweep import Result, Sweep, packs

RESULT_GRACE_S = 10.0
"""How long after a job's end its records and its accounting may become visible: file systems and sacct lag."""

_POLLS_UNTIL_LOST = 3


@dataclass
class _Followed:
    """A job that is waited for, and what was seen of it."""

    job_id: str
    job: Job
    log: Path
    unseen_polls: int = 0
    ended_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a launch did: jobs submitted by calls of sbatch, in seconds, and jobs found queued or running."""

    submitted: tuple[str, ...]
    sbatch_calls: int
    refused: int
    attached: tuple[str, ...]
    seconds: float

    @property
    def summary(self) -> str:
        """What a person wants to know before waiting or leaving."""
        said = [f"submitted {_named(self.submitted)} with {self.sbatch_calls} calls of sbatch in {self.seconds:.1f} s"]
        if self.refused:
            said.append(f"{self.refused} jobs were refused")
        if self.attached:
            said.append(f"already queued or running: {_named(self.attached)}")
        return "; ".join(said)


class SlurmGrid:
    """The cells of a grid, each with the options of its own configuration. Cells go by their place."""

    def __init__(self, cells: Sequence[Cell], options: Sequence[SlurmOptions], display: LiveDisplay) -> None:
        self._cells = cells
        self._options = options
        self._display = display
        self._directory = Path(options[0].submission_dir).absolute()
        self._ledger = Ledger(self._directory)
        self._sweep = Sweep(cells, display)
        self._followed: dict[str, _Followed] = {}
        self._seen_records: dict[int, int] = {}
        self._sbatch_calls = self._refused = 0

    def start(self) -> Start:
        """Settle what needs no job, attach to what is queued or running, submit the rest.

        Raises SlurmCommandError, LedgerError, StorageError, RecordError.
        """
        started = time.monotonic()
        with self._ledger.locked():
            ledger.recover(self._ledger)
            for pack in packs(self._cells):
                self._sweep.settle(pack)
            attached = self._attach([place for pack in packs(self._cells) for place in self._sweep.waiting(pack)])
            held = {place for followed in self._followed.values() for place in followed.job.cells}
            submitted = self._submit(self._jobs(held))
        return Start(
            submitted=tuple(submitted),
            sbatch_calls=self._sbatch_calls,
            refused=self._refused,
            attached=tuple(attached),
            seconds=time.monotonic() - started,
        )

    def follow(self) -> list[Result]:
        """Wait until every cell has its result; results in the order of the cells.

        Raises StorageError, RecordError.
        """
        while self._followed:
            answer = states.ask(self._followed)
            for followed in list(self._followed.values()):
                self._hear(followed, answer)
            if self._followed:
                time.sleep(self._options[0].poll_s)
        return self._sweep.results()

    def _attach(self, places: Sequence[int]) -> list[str]:
        attached = []
        for known in ledger.known_jobs(self._ledger, self._cells, places):
            if known.active:
                request = Request.of(self._options[known.cells[0]])
                held = Job(cells=known.cells, request=request, preemptions=known.preemptions)
                self._followed[known.job_id] = _Followed(known.job_id, held, known.log)
                attached.append(known.job_id)
        return attached

    def _jobs(self, held: Iterable[int]) -> list[Job]:
        """Jobs for the cells that have no result and no job: one a pack, or one a cell."""
        found = []
        for pack in packs(self._cells):
            places = [place for place in self._sweep.waiting(pack) if place not in held]
            requests = [Request.of(self._options[place]) for place in places]
            if not self._options[0].pack:
                found += [Job(cells=(place,), request=request) for place, request in zip(places, requests, strict=True)]
                continue
            for request in dict.fromkeys(requests):
                alike = tuple(place for place, asked in zip(places, requests, strict=True) if asked == request)
                found.append(Job(cells=alike, request=request))
        return found

    def _submit(self, jobs: Sequence[Job]) -> list[str]:
        if not jobs:
            return []
        code = code_copy.take(self._directory)
        return [
            job_id for array in submission.arrays(jobs, max_array_size()) for job_id in self._submit_array(array, code)
        ]

    def _submit_array(self, array: Array, code: Path) -> list[str]:
        made_by = provenance.commit()
        written = self._written_down(array, code, made_by)
        calls = [
            functools.partial(
                job.measure,
                [self._absolute(self._cells[place]) for place in each.cells],
                code=code,
                gpus=array.request.gpus,
                folder=Path(written.folder),
            )
            for each in array.jobs
        ]
        try:
            self._sbatch_calls += 1
            job_id = submission.submit(
                array,
                calls,
                name=written.name,
                folder=Path(written.folder),
                setup=exports(made_by.as_environment(), code),
            )
        except SubmissionRefused as error:
            self._refused += len(array.jobs)
            self._ledger.forget(written)
            self._finish(array, Ending(message=str(error)))
            return []
        written = written.model_copy(update={"job_id": job_id})
        self._ledger.write(written)
        for index, each in enumerate(array.jobs):
            self._followed[written.id_of(index)] = _Followed(written.id_of(index), each, written.log_of(index))
            self._show(each.cells, f"queued {written.id_of(index)}")
        return [written.id_of(index) for index in range(len(array.jobs))]

    def _written_down(self, array: Array, code: Path, made_by: provenance.Commit) -> Submission:
        name = submission.new_name()
        written = Submission(
            name=name,
            job_id=None,
            jobs=[
                LedgerJob(
                    records=[ledger.record_key(self._cells[place]) for place in each.cells],
                    preemptions=each.preemptions,
                )
                for each in array.jobs
            ],
            request=array.request.described(),
            folder=str(self._directory / "jobs" / name),
            code=str(code),
            commit=made_by.sha,
            dirty=made_by.dirty,
            submitted_at=provenance.now(),
        )
        self._ledger.write(written)
        return written

    def _finish(self, array: Array, ending: Ending) -> None:
        for each in array.jobs:
            for place in each.cells:
                self._sweep.finish(place, Outcome.failed, ending)

    def _hear(self, followed: _Followed, answer: Answer) -> None:
        self._collect(followed)
        places = self._sweep.waiting(followed.job.cells)
        state = answer.states.get(followed.job_id)
        if state is None:
            self._hear_nothing(followed, places, answer)
        elif not state.ended:
            followed.unseen_polls = 0
            self._show(places, described(followed.job_id, state))
        else:
            self._hear_end(followed, places, state, told=state.accounted or answer.sacct_fault is not None)

    def _hear_nothing(self, followed: _Followed, places: Sequence[int], answer: Answer) -> None:
        """A job that squeue no longer holds and sacct does not tell of; where squeue is silent, nothing is known."""
        if not places:
            del self._followed[followed.job_id]
        elif answer.squeue_fault is not None:
            self._show(places, f"unknown {followed.job_id}: {answer.squeue_fault}")
        else:
            followed.unseen_polls += 1
            if followed.unseen_polls >= _POLLS_UNTIL_LOST:
                del self._followed[followed.job_id]
                fault = answer.sacct_fault or "neither squeue nor sacct lists it"
                for place in places:
                    ending = lost(followed.job_id, fault, followed.log)
                    self._sweep.finish(place, Outcome.failed, ending, ledger.job_variables(followed.job_id))

    def _hear_end(self, followed: _Followed, places: Sequence[int], state: JobState, *, told: bool) -> None:
        """End what the job left. told: whether accounting has said all that it will say of how it ended."""
        if followed.ended_at is None:
            followed.ended_at = time.monotonic()
        killed = self._killed_in(followed)
        lagging = (bool(places) and state.name == "COMPLETED") or (bool(places or killed) and not told)
        if lagging and time.monotonic() - followed.ended_at < RESULT_GRACE_S:
            return
        del self._followed[followed.job_id]
        if state.name == "PREEMPTED" and followed.job.preemptions < self._options[0].resubmit_preempted and places:
            self._submit_again(followed, places)
            return
        if state.name == "OUT_OF_MEMORY":
            places = [*places, *killed]
        for place in places:
            ending = ending_of(followed.job_id, state, followed.job.request, followed.log)
            slurm = {**ledger.job_variables(followed.job_id), "State": state.name}
            self._sweep.finish(place, outcome_of(state), ending, slurm)

    def _submit_again(self, followed: _Followed, places: Sequence[int]) -> None:
        again = Job(cells=tuple(places), request=followed.job.request, preemptions=followed.job.preemptions + 1)
        with self._ledger.locked():
            submitted = self._submit([again])
        if submitted:
            self._show(places, f"preempted {followed.job_id}, submitted again as {submitted[0]}")

    def _killed_in(self, followed: _Followed) -> list[int]:
        """Cells whose record says that a rank was killed: in a job out of memory it is known by whom."""
        return [
            place
            for place in followed.job.cells
            if (made := self._sweep.result(place)) is not None
            and made.record.ending is not None
            and made.record.ending.signal == "SIGKILL"
            and ledger.made_in(made.record, followed.job_id)
        ]

    def _collect(self, followed: _Followed) -> None:
        """Take the records that the job has made since the last look."""
        for place in self._sweep.waiting(followed.job.cells):
            path = record_path(self._cells[place])
            changed = path.stat().st_mtime_ns if path.exists() else None
            if changed is None or self._seen_records.get(place) == changed:
                continue
            self._seen_records[place] = changed
            made = read(path, profile_of(self._cells[place]).schema)
            good = not self._cells[place].force and former(self._cells[place]) is not None
            if good or ledger.made_in(made, followed.job_id):
                self._sweep.keep(place, made)

    def _show(self, places: Iterable[int], text: str) -> None:
        for place in places:
            self._display.waiting(place, text)

    @staticmethod
    def _absolute(cell: Cell) -> Cell:
        return replace(cell, profile_dir=str(Path(cell.profile_dir).absolute()))


def _named(job_ids: Sequence[str]) -> str:
    counted = "1 job" if len(job_ids) == 1 else f"{len(job_ids)} jobs"
    return f"{counted} ({', '.join(job_ids)})" if job_ids else counted


def described(job_id: str, state: JobState) -> str:
    """Return a job's state as people say it: `queued 12_3 (Resources)`, `running 12_3 on n1`."""
    reason = f" ({state.reason})" if state.reason and state.reason != "None" else ""
    place = f" on {state.nodes}" if state.nodes and state.name != "PENDING" else ""
    return f"{state.text} {job_id}{place}{reason}"
