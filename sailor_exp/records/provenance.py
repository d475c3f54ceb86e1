"""Where, when and with what a record was made. This module imports none of the packages whose versions it reads."""

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


class ClockReading(Frozen):
    """Clocks of a GPU at one moment, and the driver's reasons why they are below their highest.

    None for what the driver does not say.
    """

    sm_mhz: Count | None
    memory_mhz: Count | None
    reasons: list[str] | None


class LoadReadings(Frozen):
    """Clocks under load. `queued`: while the last steps were queued, oldest first; `end`: when all were done."""

    sm_max_mhz: Count | None
    queued: list[ClockReading]
    end: ClockReading


class DeviceFacts(Frozen):
    """The device of one rank, under its driver's name, and the libraries that drive it; None for what is missing.

    `clock_mhz`: before anything was measured, on an idle device. `load`: while it measured; None on a CPU, without the
    driver's management library, and in records from before it was recorded.
    `settings`: what was in effect in the rank and decides how CUDA computes (sailor_exp/instruments/cuda_settings.py);
    None on a CPU, and in records from before it was recorded.
    """

    name: str
    uuid: str | None
    driver: str | None
    memory_bytes: Count | None
    clock_mhz: dict[str, int | None]
    cuda: str | None = None
    nccl: str | None = None
    settings: dict[str, str | None] | None = None
    load: LoadReadings | None = None


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
"""CPU threads of a rank. Ranks share a machine, and a number of threads from the shell would change the results."""

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
"""Variables with the commit of a job's copy of the code."""

_DIRTY = {"yes": True, "no": False, "unknown": None}


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The code that ran: its commit, and whether the tree had changes; None outside a checkout."""

    sha: str | None
    dirty: bool | None

    def as_environment(self) -> dict[str, str]:
        """Return variables from which `commit` returns this commit in another process."""
        dirty = next(text for text, value in _DIRTY.items() if value is self.dirty)
        return {COMMIT: self.sha or "", DIRTY: dirty}


@cache
def commit() -> Commit:
    """Return the commit of the checkout that tracks this file; git is asked once in each process.

    A job runs a copy of the code, and variables hold the commit of that copy. An installed copy may lie inside another
    checkout, whose commit is not that of this code.
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
    """Return the version of each distribution, None for one that is not installed, and the version of Python."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def slurm_job(environment: dict[str, str] | None = None) -> dict[str, str]:
    """Return the variables of the SLURM job that this process runs in; empty outside a job."""
    variables = os.environ if environment is None else environment
    if "SLURM_JOB_ID" not in variables:
        return {}
    return {name: variables[name] for name in _SLURM if name in variables}


@cache
def cpu_model() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gather(cell: Cell, devices: Sequence[DeviceFacts], *, started_at: str, slurm: Mapping[str, str]) -> Provenance:
    """Return the provenance of a new record.

    slurm: facts about the job in which the cell ended; empty outside a job.
    """
    code = commit()
    return Provenance(
        commit=code.sha,
        dirty=code.dirty,
        host=platform.node(),
        devices=list(devices),
        cpu=cpu_model(),
        cpu_cores=len(os.sched_getaffinity(0)),
        threads_per_rank=THREADS_PER_RANK,
        versions=package_versions(),
        started_at=started_at,
        finished_at=now(),
        slurm=dict(slurm),
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
        process = subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 else None
