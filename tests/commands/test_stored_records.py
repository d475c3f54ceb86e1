"""Records of `make demo-all` and of `profile=check`, made at a54c660 (version 1, method 2), are used as they are."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.build.commands import ROOT, gather
from tests.build.reference_data import REFERENCE

STORED = REFERENCE / "demo-all/outputs"
EXPORT = Path("outputs/export")
TABLE = EXPORT / "tables/gpt-tiny/CPU.csv"
BANDWIDTHS = {
    f"sailor/providers/{name}.json"
    for name in ("intra_node_bandwidths", "multizone_bandwidths", "multizone_bandwidths_het")
}
"""Files that exports at a54c660 did not have."""
PLANNERS = "exporter=amp,varuna,piper,metis,galvatron,oobleck"


def files_below(directory: Path) -> dict[str, bytes]:
    """Contents by path, without locks, pictures and what Hydra leaves."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix not in {".lock", ".png"} and "hydra" not in path.parts
    }


def comparable(content: bytes) -> bytes:
    """The content itself on Python 3.11, which made the stored exports; later ones without the last digits of numbers.

    Since Python 3.12 `sum` of floats is compensated, and four of the files have another last digit.
    """
    if sys.version_info < (3, 12):
        return content
    return re.sub(rb"\d+\.\d{9,}", lambda number: b"%.12e" % float(number[0]), content)


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
    assert found.keys() == wanted.keys() - {str(TABLE.relative_to(EXPORT))} | BANDWIDTHS
    assert [name for name in found.keys() - BANDWIDTHS if comparable(found[name]) != comparable(wanted[name])] == []


def test_the_tidy_table_has_the_numbers_of_every_profile(stored: Path) -> None:
    """At a54c660 all but those of layers were empty."""
    assert gather(stored, "exporter=csv").returncode == 0
    assert gather(stored, "exporter=csv", "profile_dir=outputs/network/CPU").returncode == 0
    tables = [stored / TABLE, stored / EXPORT / "tables/network/CPU.csv"]
    rows = [row for table in tables for row in csv.DictReader(table.open()) if row["outcome"] == "ok"]
    assert {row["profile"] for row in rows if row["value"] or row["value_s"]} == {
        "layers", "varuna", "oobleck", "galvatron", "check", "network", "overlap",
    }  # fmt: skip
    former = list(csv.DictReader((STORED / "export" / TABLE.relative_to(EXPORT)).open()))
    layers = [row for row in former if row["profile"] == "layers"]
    now = {(row["record"], row["part"], row["phase"]): row for row in rows if row["profile"] == "layers"}
    for row in layers:
        assert {key: now[row["record"], row["part"], row["phase"]][key] for key in row} == row


@pytest.mark.sweep
@pytest.mark.parametrize(
    "command",
    [
        ("tp=1,2", "mbs=1,2"),
        ("profile=varuna", "tp=2", "mbs=1,2"),
        ("profile=oobleck", "tp=1,2"),
        ("profile=galvatron", "pp=1,2", "tp=1,2"),
        ("profile=overlap",),
        ("profile=network", "nodes=1,2", "profile.most_bytes=16777216", "sampling.budget_s=2"),
        ("profile=check", "tp=1,2", "mbs=1", "num_microbatches=2"),
    ],
    ids=lambda command: command[0],
)
def test_a_launch_measures_nothing_again_and_makes_the_same_files_of_the_records(
    stored: Path, command: tuple[str, ...]
) -> None:
    beside = [path for path in (stored / "outputs/gpt-tiny/CPU").iterdir() if path.suffix == ".json"]
    before = files_below(stored / "outputs")
    if not any(word.startswith(("profile=network", "profile=overlap", "profile=check")) for word in command):
        for path in beside:
            path.unlink()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    launch = [sys.executable, str(ROOT / "launch.py"), "-m", "vm=2", *command]
    done = subprocess.run(launch, cwd=stored, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if ": ok" in line or "2: infeasible (" in line]
    assert told
    assert all("(was there" in line for line in told), done.stdout
    after = files_below(stored / "outputs")
    assert {name: content for name, content in after.items() if before.get(name) != content} == {}
    assert {name for name in before if name.endswith(".json") and "/records/" in name} <= after.keys()
