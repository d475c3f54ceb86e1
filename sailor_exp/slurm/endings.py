"""The outcome and the ending of a cell without a result, from the state in which its job ended."""

import re
from dataclasses import replace
from pathlib import Path

from sailor_exp.records.record import Ending, Outcome
from sailor_exp.slurm.request import Request
from sailor_exp.slurm.states import JobState
from sailor_exp.sweep.logs import tail

_TAIL_LINES = 8
_KILLED_FOR_MEMORY = re.compile(r"slurmstepd.*(exceeded \w*\s?memory limit|oom.kill)", re.IGNORECASE)
"""What slurmstepd writes when it kills a job for memory; with OverMemoryKill the job's state is FAILED nevertheless."""


def outcome_of(state: JobState) -> Outcome:
    """Return the outcome of a cell whose job ended in this state, without a result of the cell."""
    return Outcome.timeout if state.name in {"TIMEOUT", "DEADLINE"} else Outcome.failed


def ending_of(job_id: str, state: JobState, request: Request, log: Path) -> Ending:
    """Return why the cell has no numbers, with the end of the job's log."""
    if _KILLED_FOR_MEMORY.search(tail(log, _TAIL_LINES)):
        state = replace(state, name="OUT_OF_MEMORY")
    return Ending(message=f"{_reason(job_id, state, request)}{_end_of(log)}", log=str(log) if log.exists() else None)


def lost(job_id: str, fault: str, log: Path) -> Ending:
    """Return the ending of a cell whose job SLURM no longer lists. fault: why there is no state of the job."""
    message = f"SLURM does not know job {job_id} any more ({fault}), and it left no record of this cell"
    return Ending(message=f"{message}{_end_of(log)}", log=str(log) if log.exists() else None)


def _reason(job_id: str, state: JobState, request: Request) -> str:
    place = f" on {state.nodes}" if state.nodes and state.nodes != "None assigned" else ""
    memory = "the site's default" if request.mem_gb is None else f"{request.mem_gb:g}"
    by = f" by user {state.by}" if state.by else ""
    code = f" with exit code {state.exit_code}" if state.exit_code not in {None, "0:0"} else ""
    return {
        "CANCELLED": f"job {job_id}{place} was cancelled{by}",
        "TIMEOUT": f"job {job_id}{place} reached its time limit of {request.time_min} min: raise "
        "hydra.launcher.time_min",
        "DEADLINE": f"job {job_id} reached its deadline",
        "NODE_FAIL": f"job {job_id} lost its node{place}",
        "BOOT_FAIL": f"job {job_id}: its node{place} did not boot",
        "OUT_OF_MEMORY": f"job {job_id}{place} was killed for the machine's memory (not the GPU's): raise "
        f"hydra.launcher.mem_gb, now {memory}",
        "PREEMPTED": f"job {job_id}{place} was preempted, and its cells as often before as "
        "hydra.launcher.resubmit_preempted allows",
        "REVOKED": f"job {job_id} was revoked by its cluster",
        "COMPLETED": f"job {job_id}{place} completed, but left no record of this cell",
    }.get(state.name, f"job {job_id}{place} ended as {state.name}{code}")


def _end_of(log: Path) -> str:
    if not log.exists():
        return f"; it left no log at {log}: is submission_dir on a file system that the nodes share?"
    lines = tail(log, _TAIL_LINES)
    return f"; its log ends:\n{lines}" if lines else ""
