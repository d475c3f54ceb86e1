"""Where, when and with what a record was made. Nothing here imports what it names the version of."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sailor_exp.config.schema import Cell, plain, sampling_target
from sailor_exp.records.base import Count, Frozen


class DeviceFacts(Frozen):
    """The device of one rank, as its driver names it, and the libraries that drive it; None for what is not there."""

    name: str
    uuid: str | None
    driver: str | None
    memory_bytes: Count | None
    clock_mhz: dict[str, int | None]
    cuda: str | None = None
    nccl: str | None = None


class Provenance(Frozen):
    """Where, when and with what a record was made."""

    commit: str | None
    dirty: bool | None
    host: str
    devices: list[DeviceFacts]
    cpu: str
    cpu_cores: int
    threads_per_rank: int
    versions: dict[str, str | None]
    started_at: str
    finished_at: str
    slurm: dict[str, str]
    sampling: dict[str, Any]


_PACKAGES = ("sailor-exp", "torch", "deepspeed", "megatron-core", "hydra-core", "numpy")

THREADS_PER_RANK = 1
"""CPU threads that a rank computes with: ranks share a machine, and a number that follows the shell is no number."""

_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_GPUS",
    "CUDA_VISIBLE_DEVICES",
)

COMMIT, DIRTY = "SAILOR_EXP_COMMIT", "SAILOR_EXP_DIRTY"
"""Variables that tell a job which commit its copy of the code was made of."""

_DIRTY = {"yes": True, "no": False, "unknown": None}


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The code that ran: its commit, and whether the tree held changes; None outside a checkout."""

    sha: str | None
    dirty: bool | None

    def as_environment(self) -> dict[str, str]:
        """Variables from which `commit` returns this in another process."""
        dirty = next(word for word, value in _DIRTY.items() if value is self.dirty)
        return {COMMIT: self.sha or "", DIRTY: dirty}


@cache
def commit() -> Commit:
    """Ask git about the checkout that this file is tracked in, once a process.

    A job runs a copy of the code, and is told the commit that the copy was made of. An installed copy may lie inside
    somebody else's checkout, which says nothing about this code.
    """
    if COMMIT in os.environ:
        return Commit(sha=os.environ[COMMIT] or None, dirty=_DIRTY[os.environ[DIRTY]])
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name) is not None
    sha = _git("rev-parse", "HEAD") if tracked else None
    if sha is None:
        return Commit(sha=None, dirty=None)
    return Commit(sha=sha, dirty=bool(_git("status", "--porcelain")))


def now() -> str:
    """Return the time in UTC, ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def package_versions() -> dict[str, str | None]:
    """Installed versions by distribution name, None for what is not installed, and of Python itself."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def slurm_job(environment: dict[str, str] | None = None) -> dict[str, str]:
    """Variables of the SLURM job that this process runs in; empty outside one."""
    variables = os.environ if environment is None else environment
    if "SLURM_JOB_ID" not in variables:
        return {}
    return {name: variables[name] for name in _SLURM if name in variables}


@cache
def cpu_model() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gather(
    cell: Cell, devices: Sequence[DeviceFacts], *, started_at: str, slurm: Mapping[str, str] | None = None
) -> Provenance:
    """Return the provenance of a record that is made now.

    slurm: what is known of the job that the cell ended in; None for the variables of the job that this process runs in.
    """
    made_by = commit()
    return Provenance(
        commit=made_by.sha,
        dirty=made_by.dirty,
        host=platform.node(),
        devices=list(devices),
        cpu=cpu_model(),
        cpu_cores=len(os.sched_getaffinity(0)),
        threads_per_rank=THREADS_PER_RANK,
        versions=package_versions(),
        started_at=started_at,
        finished_at=now(),
        slurm=slurm_job() if slurm is None else dict(slurm),
        sampling={**plain(cell.sampling), "target": sampling_target(cell)},
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
