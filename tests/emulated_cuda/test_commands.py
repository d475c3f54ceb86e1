"""launch.py on emulated GPUs: the server that forks ranks, real ranks, and their deaths."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.emulated_cuda.cells import QUICK
from tests.emulated_cuda.commands import environment

GRID = ("gpu=h100-80", "tp=2", "model.num_layers=2", "model.seq_length=32", "model.max_position_embeddings=32", *QUICK)


def launched(directory: Path, *arguments: str, **emulation) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
    """The finished command, and its records by rising microbatch."""
    command = [sys.executable, str(ROOT / "launch.py"), "-m", *GRID, *arguments]
    environ = environment(**emulation)
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False, timeout=200)
    found = [json.loads(path.read_text()) for path in directory.glob("outputs/*/*/records/*.json")]
    return done, sorted(found, key=lambda record: record["identity"]["mbs"])


@pytest.mark.sweep
def test_a_sweep_runs_on_forked_ranks_that_have_a_device_each(tmp_path):
    done, records = launched(tmp_path, "mbs=1,2", "precision=bf16")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [record["outcome"] for record in records] == ["ok", "ok"]
    assert [device["name"] for device in records[0]["provenance"]["devices"]] == ["NVIDIA H100 80GB HBM3"] * 2
    assert records[0]["measurement"]["memory"]["reserved_bytes"] > 0


@pytest.mark.sweep
def test_ranks_start_in_fresh_processes_where_the_server_has_called_cuda(tmp_path):
    done, records = launched(tmp_path, "mbs=1", touched=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a library called CUDA when it was imported, before the rank was forked" in done.stderr
    assert [record["outcome"] for record in records] == ["ok"]


@pytest.mark.sweep
def test_a_rank_that_dies_in_a_step_is_named_in_a_failed_cell(tmp_path):
    _, [record] = launched(tmp_path, "mbs=1", dies=(1, 60))
    assert record["outcome"] == "failed"
    assert (record["ending"]["rank"], record["ending"]["signal"]) == (1, "SIGKILL")
    assert record["ending"]["phase"] == "warm-up"
