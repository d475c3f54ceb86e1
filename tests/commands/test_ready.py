"""`gather.py ready=true` as a user runs it."""

import shutil
from pathlib import Path

import pytest

from tests.build import checkouts
from tests.build.commands import gather
from tests.build.reference_data import MODEL, REFERENCE

STORED = REFERENCE / "demo-all/outputs"


def files_below(directory: Path) -> dict[Path, bytes]:
    """Contents by path, without what Hydra leaves."""
    paths = (path for path in directory.rglob("*") if path.is_file() and "hydra" not in path.parts)
    return {path: path.read_bytes() for path in paths}


@pytest.mark.filterwarnings("ignore:.*is no good")
def test_the_answer_is_one_table_and_nothing_is_written(tmp_path: Path) -> None:
    checkout = checkouts.lay_out(tmp_path, 4)
    places = (f"export_root={checkout}", f"profile_dir={tmp_path}/profiles", "exporter.zone=us-central1-a")
    before = files_below(tmp_path)
    done = gather(tmp_path, *MODEL, *places, "ready=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert [f"{name}: ready" for name in ("AMP", "Galvatron", "Metis", "Oobleck", "Piper", "Varuna")] == [
        line for line in done.stdout.splitlines() if line.endswith(": ready")
    ]
    table = [line for line in done.stdout.splitlines() if line.startswith(("┏", "┃", "┡", "│", "├", "└"))]
    assert {len(line) for line in table} == {100}
    assert files_below(tmp_path) == before


@pytest.mark.filterwarnings("ignore:.*is no good")
def test_planners_that_are_not_asked_about_are_not_told_and_do_not_count(tmp_path: Path) -> None:
    checkout = checkouts.lay_out(tmp_path, 4, of=("amp", "varuna"))
    places = (f"export_root={checkout}", f"profile_dir={tmp_path}/profiles", "exporter.zone=us-central1-a")
    asked = gather(tmp_path, "-m", *MODEL, *places, "ready=true", "exporter=varuna,amp")
    assert asked.returncode == 0, asked.stdout
    assert "Varuna: ready\nAMP: ready\n" in asked.stdout
    one = gather(tmp_path, *MODEL, *places, "ready=true", "exporter=piper")
    assert one.returncode == 1
    assert "Piper: not ready, 1 hole\n[1] python gather.py model=opt-350 gpu=a100-40 exporter=piper vm=4 " in one.stdout
    assert "Varuna" not in one.stdout


def test_the_stored_records_say_what_planners_will_miss(tmp_path: Path) -> None:
    """Their links were measured with two GPUs at a time, and the simulator also looks up one."""
    shutil.copytree(STORED, tmp_path / "outputs", ignore=shutil.ignore_patterns("export"))
    before = files_below(tmp_path)
    first = gather(tmp_path, "vm=2", "ready=true")
    assert first.returncode == 1
    assert files_below(tmp_path) == before
    assert "[1] python gather.py model=gpt-tiny gpu=cpu\n" in first.stdout
    assert gather(tmp_path, "-m", "exporter=sailor,network").returncode == 0
    assert gather(tmp_path, "-m", "vm=2", "exporter=amp,galvatron").returncode == 0
    amp = gather(tmp_path, "vm=2", "ready=true", "exporter=amp")
    assert "no bandwidth of 1 x CPU in" in amp.stdout
    assert (
        "AMP: not ready, 1 hole\n[1] python launch.py -m profile=network gpu=cpu vm=2 nodes=2 ranks=1,2 &&"
        in amp.stdout
    )
    galvatron = gather(tmp_path, "vm=2", "ready=true", "exporter=galvatron")
    assert "no strategy 1_4_1: the reader" in galvatron.stdout
    assert "(from 2 VMs)" in galvatron.stdout


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("exporter=csv",), "ready=true asks about planners, and exporter=csv is none: amp, galvatron, metis, "),
        (("report=true",), "ready=true writes nothing: leave out report=true"),
        (("check=true",), "ready=true writes nothing: leave out check=true"),
    ],
)
def test_a_question_that_makes_no_sense_is_a_fault(tmp_path: Path, arguments: tuple[str, ...], fault: str) -> None:
    done = gather(tmp_path, "ready=true", *arguments)
    assert done.returncode == 2
    assert fault in done.stderr


def test_a_root_beside_a_checkout_is_refused(tmp_path: Path) -> None:
    constants = tmp_path / "sailor/sailor/Planner/simulations/constants.py"
    constants.parent.mkdir(parents=True)
    constants.touch()
    done = gather(tmp_path, "ready=true", f"export_root={tmp_path}")
    assert done.returncode == 1
    assert "is the directory above a checkout" in done.stderr
