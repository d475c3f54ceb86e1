"""From jobs and their requests to arrays and calls of sbatch."""

import contextlib
import io
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.slurm.commands import outside_any_job
from sailor_exp.slurm.refusal import refusal
from sailor_exp.slurm.request import NO_EFFECT, Request


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something to run and what it asks for. `cells`: places in the grid."""

    cells: tuple[int, ...]
    request: Request
    preemptions: int = 0


@dataclass(frozen=True, kw_only=True)
class Array:
    """Jobs of one request that are submitted by one call of sbatch. At most `parallel` of them run at once."""

    jobs: tuple[Job, ...]
    request: Request
    parallel: int


def arrays(jobs: Sequence[Job], max_array_size: int) -> list[Array]:
    """Group jobs of equal requests; no array has more than `max_array_size`.

    Where that makes several arrays of one request, they share its `array_parallelism`.
    """
    return [array for alike in _by_request(jobs) for array in _chunks(alike, max_array_size)]


def _by_request(jobs: Sequence[Job]) -> list[list[Job]]:
    groups: dict[Request, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.request, []).append(job)
    return list(groups.values())


def _chunks(alike: Sequence[Job], size: int) -> Iterator[Array]:
    request = alike[0].request
    count = -(-len(alike) // size)
    for start in range(0, len(alike), size):
        yield Array(
            jobs=tuple(alike[start : start + size]),
            request=request,
            parallel=max(1, request.array_parallelism // count),
        )


def new_name() -> str:
    """Return a job name that no other submission has."""
    return f"sailor-exp-{uuid.uuid4().hex[:12]}"


def submit(
    array: Array,
    calls: Sequence[Callable[[], Any]],
    *,
    name: str,
    folder: Path,
    setup: Sequence[str],
) -> str:
    """Call sbatch once; returns the id of the job or array.

    calls: what each job of the array runs. setup: shell lines after those of the request.
    Raises SubmissionRefused.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    parameters = array.request.parameters_of_submitit()
    parameters["additional_parameters"] |= {"signal": NO_EFFECT, "no-requeue": True}
    executor = SlurmExecutor(folder)
    executor.update_parameters(
        **parameters,
        job_name=name,
        setup=[*array.request.setup, *setup],
        array_parallelism=array.parallel,
    )
    said = io.StringIO()
    try:
        with outside_any_job(), contextlib.redirect_stderr(said):
            jobs = executor.submit_array(calls)
    except (FailedJobError, FailedSubmissionError) as error:
        request = {**dict(array.request.parameters), "time_min": array.request.time_min}
        raise refusal(str(error), request, dict(array.request.additional)) from error
    return str(jobs[0].job_id).partition("_")[0]
