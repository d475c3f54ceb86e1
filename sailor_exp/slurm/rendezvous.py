"""The rendezvous of the tasks of a job on several nodes: SLURM's address of its first node, and a port.

A profile that measures between machines runs one task on each node. The ranks of the tasks come from the variables that
srun sets (srun(1), OUTPUT ENVIRONMENT VARIABLES).
"""

import os
import re
from collections.abc import Callable, Mapping

from sailor_exp.errors import SailorExpError
from sailor_exp.slurm.commands import SlurmCommandError, run
from sailor_exp.sweep.machines import Rendezvous

_FIRST_PORT, _PORTS = 20000, 10000
"""Ports below those that Linux gives to outgoing connections (ip_local_port_range begins at 32768)."""


class NoRendezvousError(SailorExpError):
    """The process is not a task of a SLURM job step, or the first node of its job is unknown."""


def of_this_task(environment: Mapping[str, str] | None = None, ask: Callable[[list[str]], str] = run) -> Rendezvous:
    """Return the rendezvous of the task that this process is.

    The port follows from the job's id, so that all tasks of a job use the same port, and jobs at the same time do not.
    Raises NoRendezvousError.
    """
    variables = os.environ if environment is None else environment
    missing = [
        name for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_JOB_NODELIST") if name not in variables
    ]
    if missing:
        raise NoRendezvousError(f"not a task of a SLURM job: {', '.join(missing)} not set. Start it with srun.")
    return Rendezvous(
        rank=int(variables["SLURM_PROCID"]),
        world_size=int(variables["SLURM_NTASKS"]),
        local_rank=int(variables.get("SLURM_LOCALID", "0")),
        address=_address_of_first(variables["SLURM_JOB_NODELIST"], ask),
        port=_FIRST_PORT + int(variables["SLURM_JOB_ID"]) % _PORTS,
    )


def _address_of_first(nodes: str, ask: Callable[[list[str]], str]) -> str:
    """Return NodeAddr of the first node: the node's name in SLURM may not resolve."""
    try:
        first = ask(["scontrol", "show", "hostnames", nodes]).split()[0]
        match = re.search(r"\bNodeAddr=(\S+)", ask(["scontrol", "show", "node", first]))
    except (SlurmCommandError, IndexError) as error:
        raise NoRendezvousError(f"cannot tell the first node of {nodes}: {error}") from error
    return match.group(1) if match else first
