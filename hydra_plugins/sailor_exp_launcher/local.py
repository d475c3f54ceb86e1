"""Hydra's launcher for this machine: hands the whole grid to the application at once.

Hydra's own runs one job after another, each with its own start-up. An application that sets `grid` on its task
function gets all composed configurations together, and decides what they can share; any other is run as Hydra's own
launcher would. No torch is imported here: every Hydra application in the environment loads its plugins.
"""

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals

from hydra_plugins.sailor_exp_launcher.cells import composed


class LocalLauncher(BasicLauncher):
    """Composes each cell of the sweep, then has the task function's `grid` run all of them."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; one return per job, in the order given."""
        grid = getattr(self.task_function, "grid", None)
        if grid is None or self.config is None or self.hydra_context is None:
            return super().launch(job_overrides, initial_job_idx)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        jobs = [
            composed(self.hydra_context, self.config, overrides, number)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        for job, value in zip(jobs, grid.run([job.cfg for job in jobs]), strict=True):
            job.return_value = value
            job.status = JobStatus.COMPLETED
        return jobs
