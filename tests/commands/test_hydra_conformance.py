"""Hydra's own suite for launchers, against the SLURM launcher with submitit's executors that need no cluster."""

import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite

from hydra_plugins.sailor_exp_launcher.slurm import SlurmLauncher


@pytest.fixture(autouse=True)
def version_base_of_the_suite(hydra_restore_singletons):
    """The suite is written for Hydra's oldest behaviour; other tests of the session compose with a newer one."""
    version.setbase("1.1")


def test_hydra_finds_the_launcher():
    assert SlurmLauncher.__name__ in [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize("launcher_name", ["sailor_exp_slurm"])
@pytest.mark.parametrize(
    "overrides", [["hydra.launcher.cluster=debug", "hydra.launcher.submission_dir=${hydra.sweep.dir}/s"]]
)
class TestTheSlurmLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        (
            {},
            [
                "-m",
                "hydra/launcher=sailor_exp_slurm",
                "hydra.launcher.cluster=local",
                "hydra.launcher.submission_dir=${hydra.sweep.dir}/s",
            ],
        )
    ],
)
class TestTheSlurmLauncherInApplications(IntegrationTestSuite):
    pass
