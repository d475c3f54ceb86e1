"""A sweep on SLURM: submits the cells without result and without active job, and follows the jobs to the last cell."""

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
"""Seconds after a job's end in which its records and its accounting may still appear: file systems and sacct lag."""

_POLLS_UNTIL_LOST = 3


@dataclass
class _Followed:
    """A job that the launcher follows: polls in a row without a state of it, and when its end was seen."""

    job_id: str
    job: Job
    log: Path
    unseen_polls: int = 0
    ended_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a launch did: the jobs that it submitted, and those that were already queued or running."""

    submitted: tuple[str, ...]
    sbatch_calls: int
    refused: int
    attached: tuple[str, ...]
    seconds: float

    @property
    def summary(self) -> str:
        """What a person wants to know before waiting or leaving."""
        parts = [f"submitted {_named(self.submitted)} with {self.sbatch_calls} calls of sbatch in {self.seconds:.1f} s"]
        if self.refused:
            parts.append(f"{self.refused} jobs were refused")
        if self.attached:
            parts.append(f"already queued or running: {_named(self.attached)}")
        return "; ".join(parts)


class SlurmGrid:
    """The cells of a grid, each with the options of its own configuration. Cells are identified by their place."""

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
        """Settle the cells that need no job, attach to jobs that are queued or running, and submit the rest.

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
        """Wait until every cell has its result, and return the results in the order of the cells.

        Raises StorageError, RecordError.
        """
        while self._followed:
            answer = states.ask(self._followed)
            for followed in list(self._followed.values()):
                self._update(followed, answer)
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
        """Return jobs for the cells that have no result and no job: one for each pack, or one for each cell."""
        jobs: list[Job] = []
        for pack in packs(self._cells):
            places = [place for place in self._sweep.waiting(pack) if place not in held]
            requests = [Request.of(self._options[place]) for place in places]
            if not self._options[0].pack:
                jobs += [Job(cells=(place,), request=request) for place, request in zip(places, requests, strict=True)]
                continue
            for request in dict.fromkeys(requests):
                alike = tuple(place for place, asked in zip(places, requests, strict=True) if asked == request)
                jobs.append(Job(cells=alike, request=request))
        return jobs

    def _submit(self, jobs: Sequence[Job]) -> list[str]:
        if not jobs:
            return []
        code = code_copy.take(self._directory)
        return [
            job_id for array in submission.arrays(jobs, max_array_size()) for job_id in self._submit_array(array, code)
        ]

    def _submit_array(self, array: Array, code: Path) -> list[str]:
        commit = provenance.commit()
        entry = self._write_entry(array, code, commit)
        calls = [
            functools.partial(
                job.measure,
                [self._absolute(self._cells[place]) for place in planned.cells],
                code=code,
                gpus=array.request.gpus,
                folder=Path(entry.folder),
            )
            for planned in array.jobs
        ]
        try:
            self._sbatch_calls += 1
            job_id = submission.submit(
                array,
                calls,
                name=entry.name,
                folder=Path(entry.folder),
                setup=exports(commit.as_environment(), code),
            )
        except SubmissionRefused as error:
            self._refused += len(array.jobs)
            self._ledger.forget(entry)
            self._finish(array, Ending(message=str(error)))
            return []
        entry = entry.model_copy(update={"job_id": job_id})
        self._ledger.write(entry)
        for index, submitted in enumerate(array.jobs):
            self._followed[entry.id_of(index)] = _Followed(entry.id_of(index), submitted, entry.log_of(index))
            self._show(submitted.cells, f"queued {entry.id_of(index)}")
        return [entry.id_of(index) for index in range(len(array.jobs))]

    def _write_entry(self, array: Array, code: Path, commit: provenance.Commit) -> Submission:
        name = submission.new_name()
        entry = Submission(
            name=name,
            job_id=None,
            jobs=[
                LedgerJob(
                    records=[ledger.record_key(self._cells[place]) for place in planned.cells],
                    preemptions=planned.preemptions,
                )
                for planned in array.jobs
            ],
            request=array.request.described(),
            folder=str(self._directory / "jobs" / name),
            code=str(code),
            commit=commit.sha,
            dirty=commit.dirty,
            submitted_at=provenance.now(),
        )
        self._ledger.write(entry)
        return entry

    def _finish(self, array: Array, ending: Ending) -> None:
        for refused in array.jobs:
            for place in refused.cells:
                self._sweep.finish(place, Outcome.failed, ending)

    def _update(self, followed: _Followed, answer: Answer) -> None:
        self._collect(followed)
        places = self._sweep.waiting(followed.job.cells)
        state = answer.states.get(followed.job_id)
        if state is None:
            self._update_without_state(followed, places, answer)
        elif not state.ended:
            followed.unseen_polls = 0
            self._show(places, described(followed.job_id, state))
        else:
            self._end(followed, places, state, final=state.accounted or answer.sacct_fault is not None)

    def _update_without_state(self, followed: _Followed, places: Sequence[int], answer: Answer) -> None:
        """Finish the cells of a job that neither squeue nor sacct lists in several polls in which squeue answers."""
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

    def _end(self, followed: _Followed, places: Sequence[int], state: JobState, *, final: bool) -> None:
        """Finish the cells that an ended job left. final: whether sacct will not change the state any more."""
        if followed.ended_at is None:
            followed.ended_at = time.monotonic()
        killed = self._killed_in(followed)
        lagging = (bool(places) and state.name == "COMPLETED") or (bool(places or killed) and not final)
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
        """Return cells whose record names SIGKILL: if the job ended out of memory, that was the cause."""
        return [
            place
            for place in followed.job.cells
            if (result := self._sweep.result(place)) is not None
            and result.record.ending is not None
            and result.record.ending.signal == "SIGKILL"
            and ledger.made_in(result.record, followed.job_id)
        ]

    def _collect(self, followed: _Followed) -> None:
        """Take the records that the job has written since the last poll."""
        for place in self._sweep.waiting(followed.job.cells):
            path = record_path(self._cells[place])
            changed = path.stat().st_mtime_ns if path.exists() else None
            if changed is None or self._seen_records.get(place) == changed:
                continue
            self._seen_records[place] = changed
            record = read(path, profile_of(self._cells[place]).schema)
            good = not self._cells[place].force and former(self._cells[place]) is not None
            if good or ledger.made_in(record, followed.job_id):
                self._sweep.keep(place, record)

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
    """Return a job's state in people's words: `queued 12_3 (Resources)`, `running 12_3 on n1`."""
    reason = f" ({state.reason})" if state.reason and state.reason != "None" else ""
    place = f" on {state.nodes}" if state.nodes and state.name != "PENDING" else ""
    return f"{state.text} {job_id}{place}{reason}"
