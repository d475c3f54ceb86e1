"""Runs the jobs of any Hydra application through submitit, which pickles task function and configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sailor_exp.errors import ConfigurationError
from sailor_exp.slurm.commands import max_array_size, outside_any_job, require_slurm
from sailor_exp.slurm.options import Cluster, SlurmOptions, option_faults, sweep_faults
from sailor_exp.slurm.request import Request
from sailor_exp.slurm.submission import Array, Job, arrays

_SIGNAL_DELAY_S = 90


@dataclass(frozen=True, kw_only=True)
class HydraJob:
    """One job of a sweep; its own process calls it."""

    context: HydraContext | None
    config: DictConfig | None
    task_function: TaskFunction | None
    overrides: list[str]
    number: int
    singletons: Any = field(default_factory=Singleton.get_state)

    def __call__(self) -> JobReturn:
        """Run the task function as Hydra's own launcher does, and return its result."""
        from submitit import JobEnvironment

        if self.context is None or self.config is None or self.task_function is None:
            raise RuntimeError("the job was not set up")
        Singleton.set_state(self.singletons)
        setup_globals()
        config = self.context.config_loader.load_sweep_config(self.config, self.overrides)
        with open_dict(config):
            config.hydra.job.id = JobEnvironment().job_id
            config.hydra.job.num = self.number
        return run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


def run_jobs(calls: Sequence[HydraJob], options: list[SlurmOptions]) -> list[JobReturn]:
    """Submit the jobs, grouped by their requests, and wait for all of them. Return results in the order given.

    A job that ends without a result gets a failed one with the error as its value: the others are kept. The result of a
    job on several nodes is that of its first task. Raises ConfigurationError.
    """
    faults = [fault for job_options in options for fault in option_faults(job_options)] + sweep_faults(options)
    if faults:
        raise ConfigurationError(list(dict.fromkeys(faults)))
    size = len(calls)
    if options[0].cluster is Cluster.slurm:
        require_slurm()
        size = max_array_size()
    jobs = [Job(cells=(place,), request=Request.of(job_options)) for place, job_options in enumerate(options)]
    submitted: dict[int, Any] = {}
    for array in arrays(jobs, size):
        for job, handle in zip(array.jobs, _submit(array, calls, options[0]), strict=True):
            submitted[job.cells[0]] = handle
    return [_result_of(submitted[place], calls[place]) for place in range(len(calls))]


def _submit(array: Array, calls: Sequence[HydraJob], options: SlurmOptions) -> list[Any]:
    from submitit import AutoExecutor

    executor = AutoExecutor(Path(options.submission_dir).absolute() / "hydra", cluster=options.cluster.value)
    request = array.request
    executor.update_parameters(timeout_min=request.time_min, nodes=dict(request.parameters)["nodes"])
    if options.cluster is Cluster.slurm:
        rest = {key: value for key, value in request.parameters_of_submitit().items() if key not in {"time", "nodes"}}
        executor.update_parameters(
            **{f"slurm_{key}": value for key, value in rest.items()},
            slurm_setup=list(request.setup),
            slurm_signal_delay_s=min(_SIGNAL_DELAY_S, request.time_min * 60 // 10),
            slurm_array_parallelism=array.parallel,
        )
    with outside_any_job():
        return list(executor.submit_array([calls[job.cells[0]] for job in array.jobs]))


def _result_of(handle: Any, call: HydraJob) -> JobReturn:
    from submitit.core.utils import UncompletedJobError

    try:
        result = handle.results()[0]
    except (UncompletedJobError, RuntimeError) as error:
        failed = JobReturn(overrides=call.overrides, cfg=OmegaConf.create())
        failed.status, failed.return_value = JobStatus.FAILED, error
        return failed
    assert isinstance(result, JobReturn)  # noqa: S101
    return result
