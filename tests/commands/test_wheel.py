"""A wheel, installed where no checkout is: what it carries, and that its commands measure, gather and submit."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome
from tests.build.fake_slurm import FakeSlurm, submissions

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = ("vm=1", "tp=1", "mbs=1", "sampling.warmup=2", "sampling.min_steps=8", "sampling.max_steps=8")

# Runs what srun was asked to run, and needs no srun.
SRUN = '#!/bin/sh\nwhile case "$1" in */python*) false;; esac; do shift; done\nexec "$@"\n'

OF_A_RANK = """
from sailor_exp.config.schema import Device
from sailor_exp.sweep.rank_group import server

if __name__ == "__main__":
    told = "import os, sailor_exp; print(sailor_exp.__file__, os.environ['PYTHONPATH'])"
    rank = server(Device.cpu).Process(target=exec, args=(told,))
    rank.start()
    rank.join()
"""

pytestmark = pytest.mark.sweep


def done(
    *command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished command, whose environment names no directory to import from."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**clean, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def succeeded(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    finished = done(*command, cwd=cwd, environment=environment)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of the source distribution, so that this one has what a wheel needs."""
    directory = tmp_path_factory.mktemp("distributions")
    succeeded(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", directory, cwd=ROOT)
    (source,) = directory.glob("*.tar.gz")
    building = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", directory)
    succeeded(sys.executable, "-m", "pip", "wheel", *building, source, cwd=directory)
    (built,) = directory.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, inside a checkout of something else, and an empty directory beside it."""

    environment: Path
    empty: Path

    def path(self, name: str) -> Path:
        return self.environment / "bin" / name


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """What the wheel depends on is taken from the running environment, whose own sailor-exp stays out of sight.

    That one is an editable install, by a .pth file, and these are read only in the environment's own directory.
    """
    foreign = tmp_path_factory.mktemp("foreign")
    (foreign / "provenance.py").write_text("")
    commit = ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=theirs")
    for arguments in (("init", "--quiet"), ("add", "provenance.py"), commit):
        succeeded("git", *arguments, cwd=foreign)
    found = Installed(foreign / "environment", foreign / "empty")
    found.empty.mkdir()
    succeeded(sys.executable, "-m", "venv", "--without-pip", found.environment, cwd=foreign)
    pip = (sys.executable, "-m", "pip", "--python", found.path("python"))
    succeeded(*pip, "install", "--no-deps", "--no-index", wheel, cwd=foreign)
    (packages,) = found.environment.glob("lib/python*/site-packages")
    seen = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (packages / "running_environment.pth").write_text("\n".join(seen))
    return found


def test_the_wheel_carries_all_that_the_checkout_has_of_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.partition(".dist-info/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        entry_points = archive.read(metadata["entry_points.txt"]).decode().split()
        licence = archive.read(metadata["licenses/LICENSE"])
        described = archive.read(metadata["METADATA"]).decode()
    listing = ("ls-files", "--cached", "--others", "--exclude-standard", "conf", "hydra_plugins", "sailor_exp")
    ours = succeeded("git", *listing, cwd=ROOT).split()
    assert names == {f"sailor_exp/{path}" if path.startswith("conf/") else path for path in ours}
    assert names >= {"sailor_exp/conf/launch.yaml", "sailor_exp/py.typed", "sailor_exp/report/style.css"}
    assert "hydra_plugins/sailor_exp_launcher/slurm.py" in names
    assert "hydra_plugins/__init__.py" not in names, "other distributions have plugins too"
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: Apache-2.0" in described
    assert "sailor_exp.launching:main" in entry_points
    assert "sailor_exp.gathering:main" in entry_points


def test_what_is_installed_is_imported_and_not_the_checkout(installed: Installed) -> None:
    program = "import sailor_exp, hydra_plugins.sailor_exp_launcher as p; print(sailor_exp.__file__, p.__file__)"
    places = succeeded(installed.path("python"), "-c", program, cwd=installed.empty).split()
    assert all(Path(place).is_relative_to(installed.environment) for place in places), places


def test_ranks_of_an_installed_package_search_where_the_command_does(installed: Installed, tmp_path: Path) -> None:
    """Neither in the working directory first, nor in what is installed before what PYTHONPATH names."""
    working, named = tmp_path / "working", {"PYTHONPATH": str(tmp_path / "named")}
    (working / "sailor_exp").mkdir(parents=True)
    (working / "sailor_exp/__init__.py").write_text("")
    (tmp_path / "program.py").write_text(OF_A_RANK)
    told = succeeded(installed.path("python"), tmp_path / "program.py", cwd=working, environment=named)
    place, path = told.split()
    assert Path(place).is_relative_to(installed.environment)
    assert path == named["PYTHONPATH"]


def test_the_installed_commands_measure_gather_and_export_where_nothing_is(installed: Installed) -> None:
    launch, gather, empty = installed.path("sailor-exp-launch"), installed.path("sailor-exp-gather"), installed.empty
    lacking = done(gather, "vm=1", cwd=empty)
    assert lacking.returncode == 1
    assert "`sailor-exp-launch -m model=gpt-tiny gpu=cpu vm=4 tp=1,2,4 mbs=1,2,4,8`" in lacking.stderr

    succeeded(launch, *QUICK, cwd=empty)
    ((_, made),) = record_files.read_all(empty / "outputs/gpt-tiny/CPU", "layers", LayersMeasurement)
    assert made.outcome is Outcome.ok
    assert made.provenance.versions["sailor-exp"] is not None
    assert (made.provenance.commit, made.provenance.dirty) == (None, None), "the checkout around it is not ours"

    succeeded(gather, "report=true", cwd=empty)
    succeeded(gather, "exporter=amp", "vm=1", cwd=empty)
    export = empty / "outputs/export"
    assert "1" in json.loads((export / "sailor/Planner/sailor_planner/profiles/gpt-tiny/CPU/profile.json").read_text())
    assert (export / "sailor/Planner/baselines/AMP/profiles/gpt-tiny/CPU/profile_1.npy").stat().st_size > 0
    assert "<style>" in (export / "reports/gpt-tiny/CPU.html").read_text()


def test_the_exit_status_of_an_installed_command_says_what_is_wrong(installed: Installed, tmp_path: Path) -> None:
    for name in ("sailor-exp-launch", "sailor-exp-gather"):
        wrong = done(installed.path(name), "modle=gpt-tiny", cwd=tmp_path)
        assert wrong.returncode == 2
        assert "Did you mean model?" in wrong.stderr
    assert not list(tmp_path.iterdir())


def test_a_job_of_an_installed_package_needs_no_checkout(installed: Installed, tmp_path: Path) -> None:
    """The job is run as SLURM would run it, but for srun, and the package that submitted it is gone by then."""
    fake = FakeSlurm.install(tmp_path / "bin")
    (tmp_path / "bin/srun").write_text(SRUN)
    submitting = ("-m", "hydra/launcher=slurm", "hydra.launcher.gres=null", "hydra.launcher.wait=false")
    succeeded(installed.path("sailor-exp-launch"), *submitting, *QUICK, cwd=tmp_path, environment={"PATH": fake.path})
    (written,) = submissions(tmp_path / "outputs/slurm")
    assert written["commit"] is None
    assert (Path(str(written["code"])) / "sailor_exp/slurm/job.py").exists()

    (packages,) = installed.environment.glob("lib/python*/site-packages")
    shutil.move(packages / "sailor_exp", tmp_path / "moved")
    try:
        one_task = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NTASKS": "1"}
        of_the_job = {"SLURM_JOB_ID": "11", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "n1", **one_task}
        succeeded("bash", tmp_path / "bin/script.11", cwd=tmp_path, environment={"PATH": fake.path, **of_the_job})
    finally:
        shutil.move(tmp_path / "moved", packages / "sailor_exp")
    ((_, made),) = record_files.read_all(tmp_path / "outputs/gpt-tiny/CPU", "layers", LayersMeasurement)
    assert made.outcome is Outcome.ok, made.ending
    assert (made.provenance.commit, made.provenance.slurm["SLURM_JOB_ID"]) == (None, "11")
