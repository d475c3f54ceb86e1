"""The keys of `hydra/launcher=slurm`: what the job of one cell asks SLURM for, and how jobs are submitted.

Hydra composes them for each cell, so `${ranks}` is that cell's own. Faults are reported before anything is submitted.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sailor_exp.config.schema import Cell, Device
from sailor_exp.errors import ConfigurationError


class Cluster(StrEnum):
    """Where submitit runs jobs: on SLURM, in processes here, or in this process. The last two are for tests."""

    slurm = "slurm"
    local = "local"
    debug = "debug"


@dataclass(kw_only=True)
class SlurmOptions:
    """The launcher's schema; conf/hydra/launcher/slurm.yaml explains each key."""

    _target_: str = "hydra_plugins.sailor_exp_launcher.slurm.SlurmLauncher"
    cluster: Cluster = Cluster.slurm
    submission_dir: str = "outputs/slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclusive: bool = False
    gres: str | None = None
    gpus_per_node: str | None = None
    cpus_per_task: int = 1
    mem_gb: float | None = None
    time_min: int = 60
    nodes: int = 1
    additional: dict[str, Any] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    array_parallelism: int = 256
    pack: bool = True
    wait: bool = True
    poll_s: float = 10.0
    resubmit_preempted: int = 3


KEYS = tuple(option.name for option in dataclasses.fields(SlurmOptions) if option.name != "_target_")
_OF_THE_SWEEP = ("cluster", "submission_dir", "pack", "wait", "poll_s", "resubmit_preempted")
_OWN = {
    "array": "array_parallelism",
    "cpus-per-task": "cpus_per_task",
    "error": None,
    "gpus": "gpus_per_node",
    "job-name": None,
    "mem": "mem_gb",
    "ntasks-per-node": None,
    "open-mode": None,
    "output": None,
    "requeue": "resubmit_preempted",
    "no-requeue": "resubmit_preempted",
    "signal": None,
    "time": "time_min",
}
_GPUS = re.compile(r"(?:^|,)gpu(?::[^:,]+)??(?::(\d+))?(?=,|$)")
_GPUS_PER_NODE = re.compile(r"^(?:[^:,]+:)?(\d+)$")


def options_from(launcher: DictConfig) -> SlurmOptions:
    """Convert the `hydra.launcher` node of a cell's own composed configuration.

    Raises ConfigurationError for an unknown key, with the list of keys, and for a wrong value.
    """
    try:
        values = OmegaConf.to_container(launcher, resolve=True, enum_to_str=True)
        options = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(SlurmOptions), values))
    except OmegaConfBaseException as error:
        raise ConfigurationError([f"hydra.launcher: {str(error).splitlines()[0]}. Keys: {', '.join(KEYS)}."]) from error
    assert isinstance(options, SlurmOptions)  # noqa: S101
    return options


def gpus_asked(options: SlurmOptions) -> int | None:
    """Return the GPUs per node that a job asks for in either spelling; None where it asks for none."""
    if options.gpus_per_node is not None:
        match = _GPUS_PER_NODE.match(options.gpus_per_node)
        return int(match.group(1)) if match else None
    if options.gres is None:
        return None
    match = _GPUS.search(options.gres)
    return int(match.group(1) or 1) if match else None


def option_faults(options: SlurmOptions) -> list[str]:
    """Return everything that is wrong with the options of one job, whatever runs in it."""
    least = {"time_min": 1, "nodes": 1, "cpus_per_task": 1, "array_parallelism": 1, "resubmit_preempted": 0}
    faults = [
        f"hydra.launcher.{key}={getattr(options, key)} must be at least {bound}"
        for key, bound in least.items()
        if getattr(options, key) < bound
    ]
    faults += [
        f"hydra.launcher.{key}={value:g} must be above 0"
        for key, value in (("poll_s", options.poll_s), ("mem_gb", options.mem_gb))
        if value is not None and value <= 0
    ]
    if options.gres is not None and options.gpus_per_node is not None:
        faults.append(
            f"hydra.launcher.gres={options.gres} and gpus_per_node={options.gpus_per_node} are two spellings of one "
            "request. Set the one that your site does not use to null."
        )
    return [*faults, *_additional_faults(options)]


def cell_faults(cell: Cell, options: SlurmOptions) -> list[str]:
    """Return everything that is wrong with the request of one cell: its options, and what the cell needs of them."""
    faults = option_faults(options)
    if options.cluster is not Cluster.slurm:
        faults.append(
            f"hydra.launcher.cluster={options.cluster} is for tests of other programs. "
            "Take cluster=slurm, or hydra/launcher=local to measure here."
        )
    if options.nodes != cell.nodes:
        faults.append(
            f"hydra.launcher.nodes={options.nodes} where the cell is of nodes={cell.nodes}: give that instead"
        )
    return [*faults, *_gpu_faults(cell, options)]


def sweep_faults(options: list[SlurmOptions]) -> list[str]:
    """Return a fault for each option of the whole sweep that differs from cell to cell."""
    faults = []
    for key in _OF_THE_SWEEP:
        values = list(dict.fromkeys(str(getattr(cell_options, key)) for cell_options in options))
        if len(values) > 1:
            faults.append(f"hydra.launcher.{key} must be one for the whole sweep; found {', '.join(values)}")
    return faults


def _gpu_faults(cell: Cell, options: SlurmOptions) -> list[str]:
    spelling = "gres" if options.gpus_per_node is None else "gpus_per_node"
    value = getattr(options, spelling)
    asked = gpus_asked(options)
    if asked is None and value is not None and (spelling == "gpus_per_node" or "gpu" in value):
        return [f"hydra.launcher.{spelling}={value} names no number of GPUs. Write it as [type:]number."]
    if asked is None and cell.gpu.device is Device.cuda:
        return [
            (
                f"gpu.name={cell.gpu.name} needs {cell.ranks} GPUs, and the job asks for none. Set gpu.slurm_gres, "
                "hydra.launcher.gres or hydra.launcher.gpus_per_node, with ${ranks} for the number."
            )
        ]
    if asked is not None and asked != cell.ranks:
        return [
            (
                f"{cell.ranks} ranks need {cell.ranks} GPUs; hydra.launcher.{spelling}={value} asks for {asked}. "
                "Write ${ranks} for the number."
            )
        ]
    return []


def _additional_faults(options: SlurmOptions) -> list[str]:
    faults = []
    for option in options.additional:
        name = str(option).replace("_", "-")
        key = _OWN.get(name, name.replace("-", "_"))
        if key in KEYS:
            faults.append(f"hydra.launcher.additional.{option}: say hydra.launcher.{key}")
        elif name in _OWN:
            faults.append(f"hydra.launcher.additional.{option}: the launcher sets --{name} itself")
    return faults
