"""Whether other jobs ran on the node of this one: their traffic and heat are in the numbers."""

import os
import re

from sailor_exp.slurm.commands import SlurmCommandError, run


def sharing() -> dict[str, str]:
    """Return, of the job that this process runs in, SLURM's OverSubscribe and the other jobs on its node now.

    OverSubscribe is NO for a node that no other job may use, OK for one that others may use the rest of. Empty outside
    a job, and without what SLURM does not tell.
    """
    job, node = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURMD_NODENAME")
    if job is None or node is None:
        return {}
    found = {"OverSubscribe": _oversubscribe(job), "other_jobs_on_node": _others(job, node)}
    return {name: value for name, value in found.items() if value is not None}


def _oversubscribe(job: str) -> str | None:
    try:
        said = run(["scontrol", "show", "job", job])
    except SlurmCommandError:
        return None
    found = re.search(r"\bOverSubscribe=(\S+)", said)
    return found.group(1) if found else None


def _others(job: str, node: str) -> str | None:
    try:
        said = run(["squeue", "--noheader", "--states=running", f"--nodelist={node}", "--format=%A"])
    except SlurmCommandError:
        return None
    return str(len(set(said.split()) - {job}))
