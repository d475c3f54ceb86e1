"""What one job asks SLURM for, in submitit's terms."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.slurm.options import SlurmOptions, gpus_asked

NO_EFFECT = "URG@1"
"""A signal that a process ignores unless it asks for it, in place of submitit's USR2.

SLURM may send the signal before the limit up to a minute early, so with a limit of a minute or two it would end a job
that has only begun: Python dies of USR2 until submitit has set its handler. A job of cells has nothing to save: each
cell is written when it is measured.
"""

_PLAIN = ("partition", "account", "qos", "constraint", "gres", "gpus_per_node")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request of one job. Jobs of equal requests can form one array."""

    parameters: tuple[tuple[str, Any], ...]
    additional: tuple[tuple[str, Any], ...]
    setup: tuple[str, ...]
    array_parallelism: int
    gpus: int | None
    time_min: int
    mem_gb: float | None

    @classmethod
    def of(cls, options: SlurmOptions) -> "Request":
        """Return the request that a cell's options make."""
        given = {key: getattr(options, key) for key in _PLAIN if getattr(options, key) is not None}
        given |= {"nodes": options.nodes, "ntasks_per_node": 1, "cpus_per_task": options.cpus_per_task}
        if options.mem_gb is not None:
            given["mem"] = f"{int(options.mem_gb * 1024)}M"
        if options.exclusive:
            given["exclusive"] = True
        additional = {} if options.reservation is None else {"reservation": options.reservation}
        additional |= {str(key).replace("_", "-"): value for key, value in options.additional.items()}
        return cls(
            parameters=tuple(sorted(given.items())),
            additional=tuple(sorted(additional.items())),
            setup=tuple(options.setup),
            array_parallelism=options.array_parallelism,
            gpus=gpus_asked(options),
            time_min=options.time_min,
            mem_gb=options.mem_gb,
        )

    def parameters_of_submitit(self) -> dict[str, Any]:
        """Keyword arguments of submitit's SlurmExecutor.update_parameters.

        Since SLURM 22.05 srun does not inherit the CPUs of a task from sbatch: it is told them again.
        """
        return {
            **dict(self.parameters),
            "time": self.time_min,
            "additional_parameters": dict(self.additional),
            "srun_args": [f"--cpus-per-task={dict(self.parameters)['cpus_per_task']}"],
            "stderr_to_stdout": True,
        }

    def described(self) -> dict[str, Any]:
        """Return what was asked, for the ledger and for people."""
        return {**dict(self.parameters), **dict(self.additional), "time_min": self.time_min}


def exports(variables: Mapping[str, str], python_path: Path | None) -> list[str]:
    """Shell lines that set variables in a job, and make it import from a directory first.

    `PYTHONSAFEPATH` keeps the working directory out of the search path: `python -m` would put it, and with it the
    checkout that the job was submitted from, before all others.
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if python_path is not None:
        lines.append("export PYTHONSAFEPATH=1")
        lines.append(f"export PYTHONPATH={shlex.quote(str(python_path))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return lines
