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
    """A command of SLURM is missing, failed or did not answer in time."""

    def __init__(self, command: str, reason: str) -> None:
        self.command = command
        self.reason = reason
        super().__init__(f"{command}: {reason}")


def run(command: Sequence[str]) -> str:
    """Run a command, and return what it prints. Raises SlurmCommandError."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except FileNotFoundError as error:
        raise SlurmCommandError(command[0], "not found on PATH") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmCommandError(command[0], str(error)) from error
    if process.returncode != 0:
        errors = process.stderr.strip().splitlines()
        raise SlurmCommandError(command[0], errors[-1] if errors else f"exit status {process.returncode}")
    return process.stdout


def require_slurm() -> None:
    """Raise ConfigurationError where SLURM's commands are missing."""
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
    """Return MaxArraySize of the cluster, which bounds the jobs of one array; SLURM's default where it is unknown."""
    try:
        printed = run(["scontrol", "show", "config"])
    except SlurmCommandError:
        return _DEFAULT_MAX_ARRAY_SIZE
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", printed, re.MULTILINE)
    return int(match.group(1)) if match else _DEFAULT_MAX_ARRAY_SIZE


@contextmanager
def outside_any_job() -> Iterator[None]:
    """Hide the variables of the job that this process may run in: a new job would inherit that job's request."""
    hidden = {name: value for name, value in os.environ.items() if _OF_A_JOB.match(name) and name not in _KEPT}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
