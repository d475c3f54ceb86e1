"""What one job asks SLURM for, under submitit's names."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.slurm.options import SlurmOptions, gpus_asked

NO_EFFECT = "URG@1"
"""A signal that processes ignore by default, in place of submitit's USR2.

SLURM may send its signal before the time limit up to a minute early. With a limit of a minute or two USR2 would end a
job that has only begun: it kills Python until submitit has set its handler. A job of cells has nothing to save: each
cell's record is written when the cell is measured.
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
        """Return the request of a cell's options."""
        parameters = {key: getattr(options, key) for key in _PLAIN if getattr(options, key) is not None}
        parameters |= {"nodes": options.nodes, "ntasks_per_node": 1, "cpus_per_task": options.cpus_per_task}
        if options.mem_gb is not None:
            parameters["mem"] = f"{int(options.mem_gb * 1024)}M"
        if options.exclusive:
            parameters["exclusive"] = True
        additional = {} if options.reservation is None else {"reservation": options.reservation}
        additional |= {str(key).replace("_", "-"): value for key, value in options.additional.items()}
        return cls(
            parameters=tuple(sorted(parameters.items())),
            additional=tuple(sorted(additional.items())),
            setup=tuple(options.setup),
            array_parallelism=options.array_parallelism,
            gpus=gpus_asked(options),
            time_min=options.time_min,
            mem_gb=options.mem_gb,
        )

    def parameters_of_submitit(self) -> dict[str, Any]:
        """Return keyword arguments of submitit's SlurmExecutor.update_parameters.

        Since SLURM 22.05 srun does not inherit the CPUs of a task from sbatch, so srun gets them again.
        """
        return {
            **dict(self.parameters),
            "time": self.time_min,
            "additional_parameters": dict(self.additional),
            "srun_args": [f"--cpus-per-task={dict(self.parameters)['cpus_per_task']}"],
            "stderr_to_stdout": True,
        }

    def described(self) -> dict[str, Any]:
        """Return the request for the ledger, where people read it."""
        return {**dict(self.parameters), **dict(self.additional), "time_min": self.time_min}


def exports(variables: Mapping[str, str], python_path: Path | None) -> list[str]:
    """Return shell lines that set variables in a job, and put a directory first in its search path for modules.

    `PYTHONSAFEPATH` keeps the working directory out of that path: `python -m` would put it first, and with it the
    checkout from which the job was submitted.
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if python_path is not None:
        lines.append("export PYTHONSAFEPATH=1")
        lines.append(f"export PYTHONPATH={shlex.quote(str(python_path))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return lines
