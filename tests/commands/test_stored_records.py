"""Records of `make demo-all` and of `profile=check`, made at a54c660 (version 1, method 2): read and used as they are."""

import shutil
from pathlib import Path

import pytest

from tests.build.commands import gather
from tests.build.reference_data import REFERENCE

STORED = REFERENCE / "demo-all/outputs"
EXPORT = Path("outputs/export")
TABLE = EXPORT / "tables/gpt-tiny/CPU.csv"
PLANNERS = "exporter=amp,varuna,piper,metis,galvatron,oobleck"


def files_below(directory: Path) -> dict[str, bytes]:
    """Contents by path, without locks, pictures and what Hydra leaves."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix not in {".lock", ".png"} and "hydra" not in path.parts
    }


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A directory with the records, and the files that stand beside them, but none of the exports."""
    shutil.copytree(STORED, tmp_path / "outputs", ignore=shutil.ignore_patterns("export"))
    return tmp_path


def test_every_export_is_to_the_byte_what_it_was(stored: Path) -> None:
    assert gather(stored, "-m", "exporter=sailor,network").returncode == 0
    exported = gather(stored, "-m", "vm=2", PLANNERS, "report=true")
    assert exported.returncode == 0, exported.stderr
    assert gather(stored, "check=true").returncode == 1, "two records are further off than the limit"
    wanted = files_below(STORED / "export")
    found = files_below(stored / EXPORT)
    assert found.keys() == wanted.keys() - {str(TABLE.relative_to(EXPORT))}
    assert [name for name in found if found[name] != wanted[name]] == []
