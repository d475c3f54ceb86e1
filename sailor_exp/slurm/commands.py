"""Runs SLURM's own commands."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sailor_exp.errors import ConfigurationError, SailorExpError

_NEEDED = ("sbatch", "srun", "squeue", "scancel")
_OF_A_JOB = re.compile(r"^(SLURM|SLURMD|SRUN|SBATCH|SUBMITIT)_")
_KEPT = {"SLURM_CONF"}
_DEFAULT_MAX_ARRAY_SIZE = 1001
_TIMEOUT_S = 60


class SlurmCommandError(SailorExpError):
    """A command of SLURM's did not answer: it is not there, or says why."""

    def __init__(self, command: str, reason: str) -> None:
        self.command = command
        self.reason = reason
        super().__init__(f"{command}: {reason}")


def run(command: Sequence[str]) -> str:
    """Return what the command prints. Raises SlurmCommandError."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except FileNotFoundError as error:
        raise SlurmCommandError(command[0], "not found on PATH") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmCommandError(command[0], str(error)) from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise SlurmCommandError(command[0], said[-1] if said else f"exit status {done.returncode}")
    return done.stdout


def require_slurm() -> None:
    """Refuse to go on where SLURM's commands are not. Raises ConfigurationError."""
    missing = [command for command in _NEEDED if shutil.which(command) is None]
    if missing:
        raise ConfigurationError(
            [
                (
                    f"hydra/launcher=slurm needs {', '.join(_NEEDED)}; not on PATH here: {', '.join(missing)}. "
                    "Run this on a login node, or take hydra/launcher=local."
                )
            ]
        )


def max_array_size() -> int:
    """Return MaxArraySize of the cluster, which bounds the jobs of one array; SLURM's default where it is not told."""
    try:
        said = run(["scontrol", "show", "config"])
    except SlurmCommandError:
        return _DEFAULT_MAX_ARRAY_SIZE
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", said, re.MULTILINE)
    return int(found.group(1)) if found else _DEFAULT_MAX_ARRAY_SIZE


@contextmanager
def outside_any_job() -> Iterator[None]:
    """Hide the variables of the job that this process may run in: a job submitted with them inherits its request."""
    hidden = {name: value for name, value in os.environ.items() if _OF_A_JOB.match(name) and name not in _KEPT}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
