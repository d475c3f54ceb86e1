"""Hydra's launcher for SLURM: the request of each job of a sweep comes from the job's own configuration.

This launcher reads `hydra.launcher` from each job's own composed configuration; hydra-submitit-launcher reads it once
for the sweep. An application that sets `grid` on its task function gets all jobs together with the request of each; any
other application runs job by job through submitit. This module imports no torch, and submitit only at a launch: every
Hydra application in the environment loads its plugins.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.sailor_exp_launcher.cells import completed, composed_grid
from sailor_exp.slurm.options import SlurmOptions, options_from

ConfigStore.instance().store(
    group="hydra/launcher", name="sailor_exp_slurm", node=SlurmOptions, provider="sailor_exp_launcher"
)


class SlurmLauncher(Launcher):
    """Composes the jobs of the sweep and submits them, grouped by their requests."""

    def __init__(self, **options: Any) -> None:  # noqa: ARG002
        """Ignore the options: the launcher reads them from each job's own configuration."""
        self._config: DictConfig | None = None
        self._task_function: TaskFunction | None = None
        self._context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config, self._task_function, self._context = config, task_function, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, and return one result for each, in the order given."""
        if self._config is None or self._context is None or self._task_function is None:
            raise RuntimeError("Hydra did not set the launcher up")
        grid = getattr(self._task_function, "grid", None)
        jobs = composed_grid(self._context, self._config, job_overrides, initial_job_idx, grid)
        if grid is None:
            return self._run_each(jobs, job_overrides, initial_job_idx)
        values = grid.submit([job.cfg for job in jobs], [_launcher_of(job) for job in jobs])
        return completed(jobs, values)

    def _run_each(
        self, jobs: Sequence[JobReturn], job_overrides: Sequence[Sequence[str]], first: int
    ) -> Sequence[JobReturn]:
        from sailor_exp.slurm.other_applications import HydraJob, run_jobs

        calls = [
            HydraJob(
                context=self._context,
                config=self._config,
                task_function=self._task_function,
                overrides=list(overrides),
                number=number,
            )
            for number, overrides in enumerate(job_overrides, first)
        ]
        return run_jobs(calls, [options_from(_launcher_of(job)) for job in jobs])


def _launcher_of(job: JobReturn) -> DictConfig:
    if job.hydra_cfg is None:
        raise RuntimeError("the job was not composed")
    launcher = job.hydra_cfg.hydra.launcher
    assert isinstance(launcher, DictConfig)  # noqa: S101
    return launcher
