"""A SLURM cluster for the tests that need one, for the whole session."""

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.packages import CannotBeHad
from tests.slurm.session import SlurmSession


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmSession]:
    """The cluster in the default directory; one that was up is left up, with every daemon running."""
    cluster = Cluster()
    found_up = cluster.is_up() and not cluster.is_abandoned()
    try:
        cluster.up(owner=os.getpid())
    except CannotBeHad as reason:
        pytest.skip(str(reason))
    yield SlurmSession(cluster)
    if not found_up:
        cluster.down()


@pytest.fixture
def inside_slurm(slurm: SlurmSession, monkeypatch: pytest.MonkeyPatch) -> SlurmSession:
    """For code that calls sbatch in this process: the tests' own environment is the cluster's."""
    for name in set(os.environ) - set(slurm.environment):
        monkeypatch.delenv(name)
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    return slurm
