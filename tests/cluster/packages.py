"""What the test cluster needs of the machine, and how a person gets it."""

import os
import shutil
import sys
from pathlib import Path

INSTALL_SCRIPT = Path(__file__).resolve().parent / "install_packages"
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/bin", "/bin"])
PACKAGE_OF = {
    "munged": "munge",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
}


class CannotBeHad(Exception):  # noqa: N818 - a state of the machine, not a mistake
    """This machine cannot run the cluster; the message says why and what would help."""


def program(name: str) -> str:
    """Path of a program; daemons stand in directories that a user's PATH may lack."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise CannotBeHad(f"{name} is not installed: {install_command()}")
    return path


def install_command() -> str:
    return "apt-get install --no-install-recommends " + " ".join(sorted(set(PACKAGE_OF.values())))


def require_cluster() -> None:
    """Raises CannotBeHad where the cluster cannot be started, with every reason."""
    reasons = [reason for reason in (unfit_system(), unfit_user(), missing_packages()) if reason]
    if reasons:
        raise CannotBeHad("a SLURM cluster cannot be started here: " + "; ".join(reasons))


def unfit_system() -> str | None:
    return None if sys.platform == "linux" else f"it needs Linux, this is {sys.platform}"


def unfit_user() -> str | None:
    return None if os.geteuid() == 0 else "it needs root, for the device files and the jobs' users"


def missing_packages() -> str | None:
    missing = [name for name in PACKAGE_OF if shutil.which(name, path=SEARCH_PATH) is None]
    return f"{', '.join(missing)} not installed: {install_command()}" if missing else None
