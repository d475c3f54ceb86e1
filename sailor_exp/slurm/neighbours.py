"""Whether other jobs run on the node of this job: their traffic and heat affect its numbers."""

import os
import re

from sailor_exp.slurm.commands import SlurmCommandError, run


def sharing() -> dict[str, str]:
    """Return SLURM's OverSubscribe of this process's job, and the number of other jobs that run on its node now.

    OverSubscribe is NO for a node that no other job may use, OK for a node whose rest other jobs may use. The result is
    empty outside a job, and has no key for a value that SLURM does not report.
    """
    job, node = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURMD_NODENAME")
    if job is None or node is None:
        return {}
    facts = {"OverSubscribe": _oversubscribe(job), "other_jobs_on_node": _others(job, node)}
    return {name: value for name, value in facts.items() if value is not None}


def _oversubscribe(job: str) -> str | None:
    try:
        printed = run(["scontrol", "show", "job", job])
    except SlurmCommandError:
        return None
    match = re.search(r"\bOverSubscribe=(\S+)", printed)
    return match.group(1) if match else None


def _others(job: str, node: str) -> str | None:
    try:
        printed = run(["squeue", "--noheader", "--states=running", f"--nodelist={node}", "--format=%A"])
    except SlurmCommandError:
        return None
    return str(len(set(printed.split()) - {job}))
