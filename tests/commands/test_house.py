"""What stands where: choices and folders agree, and the floors of pyproject.toml hold, and would be seen to fall."""

import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sailor_exp
from sailor_exp import exporters
from sailor_exp.exporters.registry import exporter_named
from tests.build.commands import ROOT

PACKAGE = ROOT / "sailor_exp"
MOST_AT_THE_ROOT = 8


def choices(group: str) -> set[str]:
    return {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}


def exports(name: str) -> bool:
    try:
        exporter_named(name)
    except KeyError:
        return False
    return True


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the package and of the pyproject.toml in a directory."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A directory with a copy of the package and of pyproject.toml."""
    shutil.copytree(PACKAGE, tmp_path / "sailor_exp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_choice_of_a_profile_has_its_folder_and_every_folder_its_choice():
    folders = {path.parent for path in PACKAGE.glob("profiles/*/profile.py")}
    assert choices("profile") == {folder.name for folder in folders}
    for folder in folders:
        assert (folder / "rank.py").is_file(), folder
        assert (folder / "measurement.py").is_file(), folder


def test_every_choice_of_an_exporter_has_its_module_and_every_such_module_its_choice():
    beside = {module.name for module in pkgutil.iter_modules(exporters.__path__)}
    assert choices("exporter") == {name for name in beside if exports(name)}


def test_few_modules_stand_at_the_root_of_the_package():
    modules = [module.name for module in pkgutil.iter_modules(sailor_exp.__path__) if not module.ispkg]
    assert 0 < len(modules) <= MOST_AT_THE_ROOT, modules


def test_the_contracts_of_the_linter_are_kept():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_an_import_that_the_contracts_forbid_is_reported(copied: Path):
    assert lint_imports(copied).returncode == 0, "the copy is as good as what was copied"
    stranger = copied / "sailor_exp/records/identity.py"
    stranger.write_text(stranger.read_text() + "\nimport torch\n")
    done = lint_imports(copied)
    assert done.returncode == 1
    assert "sailor_exp.records.identity -> torch" in done.stdout


def test_a_new_profile_that_imports_another_is_reported(copied: Path):
    new = copied / "sailor_exp/profiles/new"
    new.mkdir()
    (new / "__init__.py").touch()
    (new / "measurement.py").write_text("from sailor_exp.profiles.galvatron import measurement\n")
    done = lint_imports(copied)
    assert done.returncode == 1
    assert "sailor_exp.profiles.new.measurement -> sailor_exp.profiles.galvatron.measurement" in " ".join(
        done.stdout.split()
    )
