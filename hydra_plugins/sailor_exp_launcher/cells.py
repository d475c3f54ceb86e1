"""The jobs of a sweep, each composed as Hydra's own launcher composes it."""

import copy
import os
from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write


def composed(context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int) -> JobReturn:
    """Return what Hydra says of a job before it runs: its own configuration, and Hydra's part of that."""
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
