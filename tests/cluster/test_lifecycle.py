"""Starting and ending the test cluster itself, on clusters beside the session's."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cluster import packages
from tests.cluster.cluster import DAEMONS, NOT_RUNNING, UNAVAILABLE, Cluster, ClusterFailed
from tests.cluster.processes import Process
from tests.cluster.session import SlurmSession

pytestmark = pytest.mark.slurm


@pytest.fixture
def other(slurm):
    """A second cluster, down at first; `slurm` sees to the skip where there can be none."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # munged asks that everyone can reach its socket
        cluster = Cluster(Path(directory) / "cluster")
        yield cluster
        cluster.down()


def command_line(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster.cluster", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def processes(cluster):
    return [cluster.process(daemon) for daemon in DAEMONS]


def test_the_command_line_starts_a_cluster_once_and_ends_it(other):
    at = f"--directory={other.directory}"
    assert command_line("status", at).returncode == NOT_RUNNING
    assert command_line("up", at).stdout == f"export SLURM_CONF={other.directory}/slurm.conf\n"
    started = processes(other)
    assert command_line("up", at).returncode == 0
    assert processes(other) == started
    assert command_line("status", at).returncode == 0
    assert command_line("down", at).returncode == command_line("down", at).returncode == 0
    assert not any(process.alive() for process in started)
    assert {path.name for path in other.directory.iterdir()} == {"cluster.lock", "log"}


def running_job(cluster):
    """The process of a job on n1."""
    session, output = SlurmSession(cluster), cluster.directory / "output"
    session.submit("echo $$; exec sleep 600", "--nodelist=n1", output=output)
    session.wait_for(lambda: output.exists() and output.read_text().endswith("\n"))
    return Process.of(int(output.read_text()))


def test_down_ends_the_jobs_and_leaves_another_cluster_alone(slurm, other):
    other.up()
    job = running_job(other)
    other.down()
    assert not job.alive()
    assert slurm.cluster.is_up()


def test_down_ends_the_jobs_of_a_slurmd_and_a_slurmctld_that_were_killed(other):
    other.up()
    job = running_job(other)
    other.kill("n1")
    other.kill("slurmctld")
    other.down()
    assert not job.alive()


def test_a_cluster_whose_owner_died_is_seen_as_abandoned_and_started_anew(other):
    owner = subprocess.Popen(["sleep", "600"])
    other.up(owner=owner.pid)
    started = processes(other)
    owner.kill()
    owner.wait()
    status = command_line("status", f"--directory={other.directory}")
    assert status.returncode == NOT_RUNNING
    assert "abandoned" in status.stdout
    other.up()
    assert other.is_up()
    assert not any(process.alive() for process in started)


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ClusterFailed, match="not a cluster's"), Cluster(tmp_path).locked():
        pass
    Cluster(tmp_path).down()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(packages, "SEARCH_PATH", "/nowhere")
    reason = packages.missing_packages()
    assert "slurmctld" in reason
    assert "apt-get install --no-install-recommends mariadb-client-core" in reason


def test_a_machine_that_cannot_have_it_gets_a_status_of_its_own(tmp_path):
    script = "from tests.cluster import cluster, packages; packages.SEARCH_PATH = '/nowhere'; exit(cluster.main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "up", f"--directory={tmp_path}/cluster"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == UNAVAILABLE
    assert "apt-get install" in done.stderr
