"""Hydra's launcher for this machine: hands the whole grid to the application at once.

Hydra's own runs one job after another, each with its own start-up. An application that sets `run_grid` on its task
function gets all composed configurations together, and decides what they can share; any other is run as Hydra's own
launcher would. No torch is imported here: every Hydra application in the environment loads its plugins.
"""

import copy
import os
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from omegaconf import OmegaConf, open_dict, read_write


class LocalLauncher(BasicLauncher):
    """Composes each cell of the sweep, then runs the task function's `run_grid` over all of them."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; one return per job, in the order given."""
        run_grid = getattr(self.task_function, "run_grid", None)
        if run_grid is None or self.config is None:
            return super().launch(job_overrides, initial_job_idx)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        jobs = [self._composed(overrides, initial_job_idx + index) for index, overrides in enumerate(job_overrides)]
        for job, value in zip(jobs, run_grid([job.cfg for job in jobs]), strict=True):
            job.return_value = value
            job.status = JobStatus.COMPLETED
        return jobs

    def _composed(self, overrides: Sequence[str], number: int) -> JobReturn:
        if self.config is None or self.hydra_context is None:
            raise RuntimeError("Hydra did not set the launcher up")
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        task = copy.deepcopy(config)
        with read_write(task), open_dict(task):
            del task["hydra"]
        return JobReturn(
            overrides=list(OmegaConf.to_container(config.hydra.overrides.task)),  # type: ignore[arg-type]
            cfg=task,
            hydra_cfg=config,
            working_dir=os.getcwd(),  # noqa: PTH109
            task_name=config.hydra.job.name,
        )
