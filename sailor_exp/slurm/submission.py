"""Groups jobs into arrays by their requests, and calls sbatch."""

import contextlib
import io
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.errors import SailorExpError, StorageError
from sailor_exp.slurm.commands import outside_any_job
from sailor_exp.slurm.request import NO_EFFECT, Request


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job and its request. `cells`: places in the grid."""

    cells: tuple[int, ...]
    request: Request
    preemptions: int = 0


@dataclass(frozen=True, kw_only=True)
class Array:
    """Jobs of one request, which one call of sbatch submits. At most `parallel` of them run at once."""

    jobs: tuple[Job, ...]
    request: Request
    parallel: int


def arrays(jobs: Sequence[Job], max_array_size: int) -> list[Array]:
    """Group jobs of equal requests into arrays of at most `max_array_size` jobs.

    Several arrays of one request share its `array_parallelism`.
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
    """Call sbatch once, and return the id of the job or array.

    calls: what each job of the array runs. setup: shell lines after those of the request.
    Raises SubmissionRefused, and StorageError where the folder cannot be written.
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
    hidden_output = io.StringIO()
    try:
        with outside_any_job(), contextlib.redirect_stderr(hidden_output):
            jobs = executor.submit_array(calls)
    except (FailedJobError, FailedSubmissionError) as error:
        request = {**dict(array.request.parameters), "time_min": array.request.time_min}
        raise refusal(str(error), request, dict(array.request.additional)) from error
    except OSError as error:
        raise StorageError(folder, error) from error
    return str(jobs[0].job_id).partition("_")[0]


_ABOUT = (
    (r"partition", ("partition",)),
    (r"account", ("account",)),
    (r"\bqos\b|quality of service", ("qos",)),
    (r"reservation", ("reservation",)),
    (r"feature|constraint", ("constraint",)),
    (r"time limit", ("time_min",)),
    (r"memory", ("mem",)),
    (r"gres|\bgpus?\b|tres", ("gres", "gpus_per_node")),
    (r"cpu count|more processors", ("cpus_per_task",)),
    (r"node count", ("nodes",)),
    (r"node configuration", ("gres", "gpus_per_node", "cpus_per_task", "mem", "nodes", "constraint")),
)

_KEYS = {"mem": "mem_gb"}
_UNKNOWN_OPTION = re.compile(r"(?:unrecognized|invalid|ambiguous) option '?-{0,2}([\w-]+)", re.IGNORECASE)


class SubmissionRefused(SailorExpError):  # noqa: N818  # reads as what happened
    """sbatch refused a request. `options`: those that its message may mean; empty where the message names none."""

    def __init__(self, said: str, options: Mapping[str, Any]) -> None:
        self.said = said
        self.options = options
        named = ", ".join(f"hydra.launcher.{_KEYS.get(name, name)}={value}" for name, value in options.items())
        about = f" Change {named}." if named else ""
        super().__init__(f"sbatch refused the job: {said}.{about}")


def refusal(printed: str, request: Mapping[str, Any], additional: Mapping[str, Any]) -> SubmissionRefused:
    """Return the error for the message that sbatch printed about a request."""
    lines = [re.sub(r"^sbatch: (error|fatal): ", "", line).strip(" .") for line in printed.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Try ", "See "))]
    message = "; ".join(dict.fromkeys(lines)) or "no reason given"
    return SubmissionRefused(message, _options_about(message, request, additional))


def _options_about(message: str, request: Mapping[str, Any], additional: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := _UNKNOWN_OPTION.search(message):
        name = unknown.group(1)
        return {f"additional.{name}": additional.get(name, "")}
    options: dict[str, Any] = {}
    for pattern, names in _ABOUT:
        if re.search(pattern, message, re.IGNORECASE):
            options |= {name: request[name] for name in names if name in request}
            options |= {f"additional.{name}": additional[name] for name in additional if re.search(pattern, name)}
        if options:
            break
    return options | {
        f"additional.{name}": value
        for name, value in additional.items()
        if re.search(rf"\b{re.escape(name)}\b", message)
    }
