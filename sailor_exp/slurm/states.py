"""The states of jobs in SLURM: squeue lists present jobs, sacct lists those that ended.

squeue drops a job MinJobAge seconds after its end; sacct may be missing, and is a little late. Each command runs once
for all jobs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sailor_exp.slurm.commands import SlurmCommandError, run

_ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
_UNKNOWN_JOB = "Invalid job id"


@dataclass(frozen=True, kw_only=True)
class JobState:
    """State of one job under SLURM's own name.

    `reason`: why it waits; `by`: who cancelled it; `accounted`: whether the state comes from sacct.
    """

    name: str
    reason: str | None = None
    nodes: str | None = None
    exit_code: str | None = None
    by: str | None = None
    accounted: bool = False

    @property
    def ended(self) -> bool:
        """Whether the job will not run any more."""
        return self.name in _ENDED

    @property
    def text(self) -> str:
        """Return the state in people's words."""
        if self.name == "PENDING":
            return "queued"
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """States by job id, and why a command did not answer. `states` lacks a job that neither command lists."""

    states: Mapping[str, JobState]
    squeue_fault: str | None = None
    sacct_fault: str | None = None


def ask(job_ids: Iterable[str]) -> Answer:
    """Return SLURM's states of the jobs; ids are `12`, or `12_3` in an array."""
    wanted = list(job_ids)
    if not wanted:
        return Answer(states={})
    arrays = ",".join(dict.fromkeys(job_id.partition("_")[0] for job_id in wanted))
    squeue, squeue_fault = _squeue(arrays)
    states = {job_id: squeue[job_id] for job_id in wanted if job_id in squeue}
    rest = [job_id for job_id in wanted if job_id not in states or states[job_id].ended]
    if not rest:
        return Answer(states=states, squeue_fault=squeue_fault)
    sacct, sacct_fault = _sacct(arrays)
    states |= {
        job_id: sacct[job_id] for job_id in rest if job_id in sacct and _tells_more(sacct[job_id], states, job_id)
    }
    return Answer(states=states, squeue_fault=squeue_fault, sacct_fault=sacct_fault)


def _tells_more(state: JobState, states: Mapping[str, JobState], job_id: str) -> bool:
    """Whether sacct's state counts: sacct is late, and may list a job as running that squeue lists as ended."""
    return state.ended or job_id not in states


def find(job_name: str) -> str | None:
    """Return the id of the job or array with this name, or None.

    Raises SlurmCommandError if squeue does not answer.
    """
    queued = run(["squeue", "--noheader", "--states=all", f"--name={job_name}", "--format=%F"]).split()
    if queued:
        return queued[0]
    try:
        ended = run(["sacct", "--allocations", "--noheader", "--parsable2", f"--name={job_name}", "--format=JobID"])
    except SlurmCommandError:
        return None
    return ended.split()[0].partition("_")[0] if ended.split() else None


def _squeue(arrays: str) -> tuple[dict[str, JobState], str | None]:
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={arrays}", "--format=%i|%T|%r|%N"]
    try:
        return read_squeue(run(command)), None
    except SlurmCommandError as error:
        return {}, None if _UNKNOWN_JOB in error.reason else str(error)


def read_squeue(printed: str) -> dict[str, JobState]:
    """Return states by job id, from lines of `JOBID|STATE|REASON|NODELIST`."""
    states = {}
    for line in printed.splitlines():
        job_id, name, reason, nodes = line.strip().split("|", 3)
        states[job_id] = JobState(name=name, reason=reason if name == "PENDING" else None, nodes=nodes or None)
    return states


def _sacct(arrays: str) -> tuple[dict[str, JobState], str | None]:
    command = ["sacct", "--noheader", "--parsable2", f"--jobs={arrays}", "--format=JobID,State,ExitCode,NodeList"]
    try:
        return read_sacct(run(command)), None
    except SlurmCommandError as error:
        return {}, str(error)


def read_sacct(printed: str) -> dict[str, JobState]:
    """Return states by job id, from lines of `JobID|State|ExitCode|NodeList` for jobs and their steps.

    A job is OUT_OF_MEMORY if one of its steps is, whatever the batch script returned.
    """
    states: dict[str, JobState] = {}
    killed = set()
    for line in printed.splitlines():
        job_id, state, exit_code, nodes = line.strip().split("|", 3)
        name, *by = re.split(r" by ", state)
        if "." in job_id:
            killed |= {job_id.partition(".")[0]} if name == "OUT_OF_MEMORY" else set()
            continue
        states[job_id] = JobState(
            name=name.split()[0], nodes=nodes, exit_code=exit_code, by=by[0] if by else None, accounted=True
        )
    return {
        job_id: replace(state, name="OUT_OF_MEMORY") if job_id in killed and state.ended else state
        for job_id, state in states.items()
    }
