"""A real SLURM cluster of two nodes on this machine, for tests: `python -m tests.cluster.cluster up|down|status`.

Everything it writes stands in one directory, and it ends only what it started. It installs nothing: without the
Debian packages it says how to get them and exits with status 69.
"""

import argparse
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.cluster import configuration
from tests.cluster.configuration import GPUS_PER_NODE, NODES
from tests.cluster.packages import SEARCH_PATH, CannotBeHad, program, require_cluster
from tests.cluster.processes import Process, processes_with

DEFAULT_DIRECTORY = Path("/tmp/sailor-exp-slurm")  # noqa: S108 - the lock file tells it from another's
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", *NODES)
MARK = "SAILOR_EXP_SLURM"  # in the environment of every daemon and step daemon, with the cluster's directory
NODE = "SLURMD_NODENAME"  # SLURM sets it for every process of a job, we for slurmd, and so for its step daemons
LOCK = "cluster.lock"
UNUSABLE = {"DOWN", "DOWN*", "DRAIN", "NOT_RESPONDING", "UNKNOWN"}  # of a node's states in scontrol
NULL_DEVICE = os.makedev(1, 3)
NOT_RUNNING, UNAVAILABLE = 3, 69  # what init scripts and sysexits.h use
TOOLS_VARIABLES = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_")


class ClusterFailed(Exception):  # noqa: N818 - reads as what happened
    """A daemon did not start; the message ends with its log."""


class Cluster:
    """The cluster of one directory: munged, MariaDB, slurmdbd, slurmctld and the slurmds n1 and n2."""

    def __init__(self, directory: Path = DEFAULT_DIRECTORY) -> None:
        self.directory = directory.absolute()

    @property
    def slurm_conf(self) -> Path:
        return self.directory / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment without what an outer SLURM job left in it, pointed at the cluster."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(TOOLS_VARIABLES)}
        return {**kept, "SLURM_CONF": str(self.slurm_conf), "PATH": SEARCH_PATH}

    def up(self, owner: int | None = None) -> None:
        """Starts what does not run yet; a cluster that is partly up, or whose owner died, is started anew.

        owner: pid of the process the cluster belongs to; None for a person's, which lives until `down`.
        """
        require_cluster()
        with self.locked():
            if self.is_up() and not self.is_abandoned():
                return
            self.clear()
            try:
                self.configure()
                Process.of(owner).write(self.directory / "owner") if owner else None
                self.start_all()
            except BaseException:
                self.clear()
                raise

    def down(self) -> None:
        """Ends all that the cluster started and removes all but its logs; nothing happens where it is down."""
        if (self.directory / LOCK).exists():
            with self.locked():
                self.clear()

    def is_up(self) -> bool:
        return all(self.runs(daemon) for daemon in DAEMONS)

    def runs(self, daemon: str) -> bool:
        process = self.process(daemon)
        return process is not None and process.alive()

    def is_abandoned(self) -> bool:
        """Whether the process that the cluster was started for has died."""
        owner = Process.read(self.directory / "owner")
        return owner is not None and not owner.alive()

    def process(self, daemon: str) -> Process | None:
        return Process.read(self.directory / "run" / f"{daemon}.process")

    def start(self, daemon: str, ready_within_s: float = 30.0) -> None:
        """Starts one daemon, unless it runs, and returns when it answers."""
        if self.runs(daemon):
            return
        with self.log(daemon).open("a") as log:
            started = subprocess.Popen(
                self.command(daemon),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self.daemon_environment(daemon),
                start_new_session=True,
            )
        process = Process.of(started.pid)
        process.write(self.directory / "run" / f"{daemon}.process")
        self.wait_until_ready(daemon, process, ready_within_s)

    def stop(self, daemon: str) -> None:
        """Asks one daemon to end and waits until it has; the steps of a slurmd run on, as on a real node."""
        process = self.process(daemon)
        if process is not None:
            process.end(patience_s=10)

    def kill(self, daemon: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends one daemon without asking, as a node that breaks does."""
        process = self.process(daemon)
        if process is not None:
            process.send(number)
            process.gone_within(5)

    def lose(self, node: str) -> None:
        """Ends a slurmd and all that runs on its node at once, as a machine without power does."""
        self.kill(node)
        for process in self.processes_of_jobs() & set(processes_with(NODE, node)):
            process.send(signal.SIGKILL)

    def log(self, daemon: str) -> Path:
        return self.directory / "log" / f"{daemon}.log"

    def run(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command as a user of the cluster would."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; refuses a directory that holds something else."""
        lock = self.directory / LOCK
        if not lock.exists() and self.directory.exists() and any(self.directory.iterdir()):
            raise ClusterFailed(f"{self.directory} holds files that are not a cluster's. Name another directory.")
        self.directory.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def configure(self) -> None:
        """Writes every file that the daemons read, and one device file a GPU."""
        shutil.rmtree(self.directory / "log", ignore_errors=True)
        for name in ("log", "run", "state", "spool", "munge"):
            (self.directory / name).mkdir(mode=0o755)
        (self.directory / "database").mkdir(mode=0o700)
        self.write("munge/key", os.urandom(128), mode=0o400)
        ports = configuration.free_ports()
        self.write("slurm.conf", configuration.slurm_conf(self.directory, ports).encode())
        self.write("gres.conf", configuration.gres_conf(self.directory).encode())
        self.write("slurmdbd.conf", configuration.slurmdbd_conf(self.directory, ports).encode(), mode=0o600)
        self.write("mariadb.conf", configuration.mariadb_conf(self.directory).encode())
        for gpu in range(GPUS_PER_NODE):
            self.make_device(self.directory / f"gpu{gpu}")

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        path.chmod(mode)

    def make_device(self, path: Path) -> None:
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, NULL_DEVICE)
        except PermissionError as refused:
            raise CannotBeHad(f"root may not make device files here ({refused}): run in a machine of its own") from None

    def start_all(self) -> None:
        """In the order in which they need each other."""
        self.start("munged")
        self.make_database()
        for daemon in ("mariadbd", "slurmdbd"):
            self.start(daemon)
        self.checked("sacctmgr", "--immediate", "add", "cluster", "sailor")
        for daemon in ("slurmctld", *NODES):
            self.start(daemon)

    def make_database(self) -> None:
        self.checked(
            program("mariadb-install-db"),
            f"--defaults-file={self.directory}/mariadb.conf",
            f"--datadir={self.directory}/database/data",
            "--user=root",
            "--auth-root-authentication-method=socket",
            "--auth-root-socket-user=root",
            "--skip-test-db",
        )

    def checked(self, *command: str) -> str:
        done = self.run(*command)
        if done.returncode != 0:
            raise ClusterFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def daemon_environment(self, daemon: str) -> dict[str, str]:
        database = {"MYSQL_UNIX_PORT": str(self.directory / "database" / "socket")}
        node = {NODE: daemon} if daemon in NODES else {}
        return {**self.environment, **database, **node, MARK: str(self.directory)}

    def command(self, daemon: str) -> list[str]:
        """Every daemon stays in the foreground, so that the pid is the one we started."""
        if daemon in NODES:
            return [program("slurmd"), "-D", "-N", daemon]
        return {
            "munged": self.munged_command,
            "mariadbd": lambda: [program("mariadbd"), f"--defaults-file={self.directory}/mariadb.conf"],
            "slurmdbd": lambda: [program("slurmdbd"), "-D"],
            "slurmctld": lambda: [program("slurmctld"), "-D"],
        }[daemon]()

    def munged_command(self) -> list[str]:
        munge = self.directory / "munge"
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        return [program("munged"), "--foreground", *(f"--{option}={munge}/{name}" for option, name in files.items())]

    def wait_until_ready(self, daemon: str, process: Process, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.answers(daemon):
            if not process.alive() or time.monotonic() > deadline:
                state = "does not answer" if process.alive() else "ended"
                raise ClusterFailed(f"{daemon} {state}; its log ends:\n{self.log_tail(daemon)}")
            time.sleep(0.1)

    def answers(self, daemon: str) -> bool:
        questions: Mapping[str, Callable[[], bool]] = {
            "munged": (self.directory / "munge" / "socket").exists,
            "mariadbd": (self.directory / "database" / "socket").exists,
            "slurmdbd": lambda: self.run("sacctmgr", "show", "cluster").returncode == 0,
            "slurmctld": lambda: "is UP" in self.run("scontrol", "ping").stdout,
        }
        return questions.get(daemon, lambda: self.node_answers(daemon))()

    def node_answers(self, node: str) -> bool:
        """Whether the controller has heard of the slurmd that runs now and gives it jobs.

        The state alone would not do: a node stays IDLE for seconds after its slurmd was killed.
        """
        shown = self.run("scontrol", "--oneliner", "show", "node", node).stdout
        fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
        if not {"State", "SlurmdStartTime"} <= fields.keys() or fields["SlurmdStartTime"] == "None":
            return False
        heard_of = datetime.fromisoformat(fields["SlurmdStartTime"]).timestamp()
        started = (self.directory / "run" / f"{node}.process").stat().st_mtime
        return heard_of >= started - 1 and UNUSABLE.isdisjoint(fields["State"].split("+"))

    def log_tail(self, daemon: str, lines: int = 15) -> str:
        return "\n".join(self.log(daemon).read_text(errors="replace").splitlines()[-lines:])

    def clear(self) -> None:
        """Ends the jobs, then the daemons in the reverse of their order, then removes all but lock and logs."""
        if self.runs("slurmctld") and self.runs("munged"):
            self.run("scancel", "--user=root")
        for daemon in reversed(DAEMONS):
            self.stop(daemon)
        for process in self.processes_of_jobs():
            process.end(patience_s=1)
        for path in self.directory.iterdir():
            if path.name not in {LOCK, "log"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def processes_of_jobs(self) -> set[Process]:
        """Step daemons and what runs under them; never a person's shell, which names SLURM_CONF as well."""
        step_daemons = set(processes_with(MARK, str(self.directory))) - {self.process(daemon) for daemon in DAEMONS}
        of_cluster = processes_with("SLURM_CONF", str(self.slurm_conf))
        return step_daemons | {process for process in of_cluster if process.has_variable("SLURM_JOB_ID")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["up", "down", "status"])
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY)
    asked = parser.parse_args()
    try:
        return {"up": up, "down": down, "status": status}[asked.action](Cluster(asked.directory))
    except CannotBeHad as reason:
        print(reason, file=sys.stderr)
        return UNAVAILABLE
    except ClusterFailed as failure:
        print(failure, file=sys.stderr)
        return 1


def up(cluster: Cluster) -> int:
    cluster.up()
    print(f"export SLURM_CONF={cluster.slurm_conf}")
    return 0


def down(cluster: Cluster) -> int:
    cluster.down()
    return 0


def status(cluster: Cluster) -> int:
    running = [daemon for daemon in DAEMONS if cluster.runs(daemon)]
    abandoned = ", abandoned: the process it was started for has died" if cluster.is_abandoned() else ""
    print(f"{cluster.directory}: {', '.join(running) or 'nothing'} running{abandoned}")
    return 0 if cluster.is_up() and not abandoned else NOT_RUNNING


if __name__ == "__main__":
    sys.exit(main())
