"""The published profiles, made by other tools: what of them their GPUs cannot have measured."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.build.commands import ROOT, gather
from tests.build.reference_data import lay_out

EMBEDDING_BACKWARD_S = {"3e-06", "4e-06"}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The root that was checked, and the warnings."""
    root = tmp_path_factory.mktemp("published")
    lay_out(root)
    done = gather(
        root, "-m", "model=opt-350", "gpu=a100-40,v100-16", "exporter=plausible", f"export_root={root}/export"
    )
    assert done.returncode == 0, done.stderr
    return root, done.stderr


def rows(root: Path, gpu: str, **wanted: str) -> list[dict[str, str]]:
    table = csv.DictReader((root / f"export/plausible/OPT-350/{gpu}.csv").open())
    return [row for row in table if wanted.items() <= row.items()]


def test_the_heads_of_a100_are_those_of_tf32(checked: tuple[Path, str]) -> None:
    root, warned = checked
    (row,) = rows(root, "A100-40", tp="1", mbs="1", part="head", phase="forward")
    assert float(row["flops_per_s"]) == pytest.approx(46.8e12, rel=1e-3)
    assert float(row["share_of_peak"]) == pytest.approx(2.40, rel=1e-2)
    for phase in ("forward", "backward"):
        assert {one["verdict"] for one in rows(root, "A100-40", part="head", phase=phase)} == {"above"}
    assert "head forward: 24 to 52.4 TFLOP/s, where the data sheet has 19.5, and 156 with TF32" in warned


def test_the_heads_of_v100_are_below_its_peak(checked: tuple[Path, str]) -> None:
    root, _ = checked
    heads = rows(root, "V100-16", part="head")
    assert {row["verdict"] for row in heads} == {""}
    assert max(float(row["share_of_peak"]) for row in heads if row["share_of_peak"]) == pytest.approx(0.91, abs=0.01)


@pytest.mark.parametrize("gpu", ["A100-40", "V100-16"])
def test_no_embedding_can_have_a_backward_of_three_microseconds(checked: tuple[Path, str], gpu: str) -> None:
    root, warned = checked
    backwards = rows(root, gpu, part="embedding", phase="backward")
    assert {row["seconds"] for row in backwards} <= EMBEDDING_BACKWARD_S
    assert {row["verdict"] for row in backwards} == {"above"}
    assert warned.count("embedding backward:") == 2


def test_the_update_of_a_layer_that_is_that_of_the_embedding_is_slow(checked: tuple[Path, str]) -> None:
    """The published update of every layer id is the same number, though the embedding has four times the parameters."""
    root, warned = checked
    assert {row["verdict"] for row in rows(root, "A100-40", part="layer", phase="update")} == {"slow"}
    assert {row["verdict"] for row in rows(root, "A100-40", part="embedding", phase="update")} == {""}
    assert "layer update: 12.9 to 17.2 times" in warned


def test_in_tf32_the_arithmetic_of_a100_would_be_plausible(checked: tuple[Path, str]) -> None:
    root, _ = checked
    shares = [float(row["flops_per_s"]) / 156e12 for row in rows(root, "A100-40") if row["flops_per_s"]]
    assert max(shares) < 0.75


def test_a_kind_without_a_peak_says_that_nothing_is_judged(tmp_path: Path) -> None:
    lay_out(tmp_path)
    named = ("model=opt-350", "gpu=cpu", "gpu.name=A100-40", f"export_root={tmp_path}/export")
    done = gather(tmp_path, *named, "exporter=plausible")
    assert done.returncode == 0
    assert "no peak of A100-40 is known" in done.stderr
    assert "0 of 936 times are marked" in done.stdout


def test_make_plausible_prints_the_shares_of_every_part() -> None:
    command = [sys.executable, "-m", "tests.bench.plausible"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    lines = done.stdout.splitlines()
    assert "| OPT-350 | A100-40 | head forward | peak | 1.23 | 2.69 | 12 | 12 | 0 |" in lines
    assert "| OPT-350 | A100-40 | embedding backward | bandwidth | 14.72 | 60.35 | 12 | 12 | 0 |" in lines
    assert "| OPT-350 | V100-16 | head backward | peak | 0.76 | 0.91 | 15 | 0 | 0 |" in lines
