"""Hydra's launcher for this machine: passes the whole grid to the application at once.

Hydra's own launcher runs one job after another, each with its own start-up. An application that sets `grid` on its task
function gets all composed configurations together, and decides what they can share; any other application runs as with
Hydra's own launcher. This module imports no torch: every Hydra application in the environment loads its plugins.
"""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn

from hydra_plugins.sailor_exp_launcher.cells import completed, composed_grid


class LocalLauncher(BasicLauncher):
    """Composes each cell of the sweep, then passes all of them to the task function's `grid`."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, and return one result for each, in the order given."""
        grid = getattr(self.task_function, "grid", None)
        if grid is None or self.config is None or self.hydra_context is None:
            return super().launch(job_overrides, initial_job_idx)
        jobs = composed_grid(self.hydra_context, self.config, job_overrides, initial_job_idx, grid)
        return completed(jobs, grid.run([job.cfg for job in jobs]))
