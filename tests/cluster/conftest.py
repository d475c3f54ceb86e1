"""A SLURM cluster for the tests that need one, for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.packages import CannotBeHad
from tests.cluster.session import SlurmSession


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmSession]:
    """A cluster of this session's own: the tests break daemons and cancel every job, so never somebody's that is up."""
    with TemporaryDirectory(prefix="sailor-exp-slurm-") as directory:
        Path(directory).chmod(0o755)  # munged asks that everyone can reach its socket
        cluster = Cluster(Path(directory) / "cluster")
        try:
            cluster.up(owner=os.getpid())
        except CannotBeHad as reason:
            pytest.skip(str(reason))
        yield SlurmSession(cluster)
        cluster.down()


@pytest.fixture
def inside_slurm(slurm: SlurmSession, monkeypatch: pytest.MonkeyPatch) -> SlurmSession:
    """For code that calls sbatch in this process: the tests' own environment is the cluster's."""
    for name in set(os.environ) - set(slurm.environment):
        monkeypatch.delenv(name)
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    return slurm
