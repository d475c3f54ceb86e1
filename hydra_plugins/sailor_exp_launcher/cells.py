"""Composes the jobs of a sweep as Hydra's own launcher does."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write


def composed(
    context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Prepare Hydra for a sweep, and return its jobs, numbered from `first`: each is composed and has not run yet."""
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    return [_composed(context, config, overrides, number) for number, overrides in enumerate(job_overrides, first)]


def composed_grid(
    context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int, grid: Any
) -> list[JobReturn]:
    """Return the jobs of a sweep for an application's `grid`, which may replace them.

    `grid.planned`, if there is one, gets the overrides of all jobs and a function that composes others, and returns the
    overrides of the jobs to run.
    """
    if (planned := getattr(grid, "planned", None)) is None:
        return composed(context, config, job_overrides, first)
    setup_globals()
    replaced = planned(job_overrides, lambda overrides: _composed(context, config, overrides, first).cfg)
    return composed(context, config, replaced, first)


def completed(jobs: Sequence[JobReturn], values: Sequence[str]) -> Sequence[JobReturn]:
    """Return the jobs with their return values, in the order given."""
    for job, value in zip(jobs, values, strict=True):
        job.return_value = value
        job.status = JobStatus.COMPLETED
    return jobs


def _composed(context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int) -> JobReturn:
    """Return a job with its own configuration and Hydra's part of it."""
    job = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id = str(number)
        job.hydra.job.num = number
    task = copy.deepcopy(job)
    with read_write(task), open_dict(task):
        del task["hydra"]
    return JobReturn(
        overrides=list(OmegaConf.to_container(job.hydra.overrides.task)),  # type: ignore[arg-type]
        cfg=task,
        hydra_cfg=job,
        working_dir=os.getcwd(),  # noqa: PTH109
        task_name=job.hydra.job.name,
    )
