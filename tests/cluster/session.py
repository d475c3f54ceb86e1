"""What a test does with the cluster: submit, look, wait, break a daemon and mend it."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cluster import DAEMONS, Cluster

COLUMNS = ("JobID", "JobName", "State", "ExitCode", "ElapsedRaw", "NodeList", "AllocTRES")
ENDED_WITHIN_S = 60


@dataclass(frozen=True)
class SlurmSession:
    """A cluster that is up and that the tests have to themselves."""

    cluster: Cluster

    @property
    def environment(self) -> dict[str, str]:
        return self.cluster.environment

    def run(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command with the cluster's environment; the caller judges its exit status."""
        return self.cluster.run(*command, timeout_s=timeout_s)

    def submit(self, script: str, *options: str, output: Path = Path("/dev/null")) -> str:
        """The job id of `sbatch --wrap script`, from which the cluster may requeue as its default says."""
        done = self.run("sbatch", "--parsable", f"--output={output}", *options, "--wrap", script)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def squeue(self) -> dict[str, str]:
        """State of each job or array task that has not ended, by id."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T").stdout.splitlines()
        return dict(line.split() for line in lines)

    def sacct(self, job: str) -> list[dict[str, str]]:
        """One row for the job, each array task and each step, with the columns of COLUMNS; `[]` until it is known."""
        asked = ("sacct", "--noheader", "--parsable2", f"--jobs={job}", f"--format={','.join(COLUMNS)}")
        lines = self.run(*asked).stdout.splitlines()
        return [dict(zip(COLUMNS, line.split("|"), strict=True)) for line in lines]

    def state(self, job: str) -> str:
        """What sacct says of the job itself, "" until it knows the job; `CANCELLED by 0` comes whole."""
        return next((row["State"] for row in self.sacct(job) if row["JobID"] == job), "")

    def wait_for(self, condition: Callable[[], bool], seconds: float = ENDED_WITHIN_S) -> float:
        """Returns how many seconds it took for the condition to hold."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + seconds, self.run("scontrol", "show", "jobs").stdout
            time.sleep(0.2)
        return time.monotonic() - began

    def wait_for_state(self, job: str, state: str, seconds: float = ENDED_WITHIN_S) -> float:
        return self.wait_for(lambda: self.state(job).startswith(state), seconds)

    def stop(self, daemon: str) -> None:
        self.cluster.stop(daemon)

    def kill(self, daemon: str) -> None:
        self.cluster.kill(daemon)

    def lose(self, node: str) -> None:
        self.cluster.lose(node)

    def start(self, daemon: str) -> None:
        self.cluster.start(daemon)

    def mend(self) -> None:
        """Takes back every job and starts what does not run, so that the next test finds the cluster whole."""
        for daemon in DAEMONS:
            self.start(daemon)
        self.run("scancel", "--user=root")
        self.wait_for(lambda: not self.squeue())
