"""Whole sweeps, run as a user runs them, with real ranks: what they leave on disk and say at the end."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.layers.published import MEMORY_KEYS
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome, Record
from tests.commands.rank_traffic import wait_until_they_talk

pytestmark = pytest.mark.sweep

QUICK = ("profile_dir=out", "sampling.min_steps=8", "sampling.max_steps=8", "sampling.warmup=2")


def outcomes(directory: Path) -> dict[tuple[int, int], Outcome]:
    return {(made.identity.tp, made.identity.mbs): made.outcome for made in records(directory)}


def records(directory: Path) -> list[Record[LayersMeasurement]]:
    return [made for _, made in record_files.read_all(directory / "out", "layers", LayersMeasurement)]


def test_a_sweep_measures_every_cell_and_the_same_command_again_measures_none(launch, tmp_path):
    status, output = launch("-m", "tp=1,2", "mbs=1,2", *QUICK)
    assert status == 0, output
    assert outcomes(tmp_path) == dict.fromkeys([(1, 1), (1, 2), (2, 1), (2, 2)], Outcome.ok)
    for made in records(tmp_path):
        identity, samples = made.identity, made.measured.samples
        assert all(len(part.forward_s) == identity.tp for part in samples.parts)
        assert all(len(rank) == 10 for part in samples.parts for rank in part.backward_s)
        written = json.loads((tmp_path / f"out/profile_gpt-tiny_CPU_{identity.tp}_{identity.mbs}.json").read_text())
        assert list(written["timing"]) == list(written["memory"]) == ["0", "1", "2", "3", "4", "5"]
        assert all(second > 0 for times in written["timing"].values() for second in times)
        assert all(set(counts) == set(MEMORY_KEYS) for counts in written["memory"].values())

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.json")}
    started = time.monotonic()
    status, output = launch("-m", "tp=1,2", "mbs=1,2", *QUICK)
    assert status == 0
    assert output.count("was there") == 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.json")} == before
    assert time.monotonic() - started < 10


def test_a_cell_out_of_memory_is_a_result_and_larger_microbatches_are_skipped(launch, tmp_path):
    status, output = launch("-m", "tp=1,2", "mbs=1,64,128", "gpu.memory_gb=0.15", *QUICK)
    assert status == 0, output
    expected = {(tp, mbs): Outcome.skipped for tp in (1, 2) for mbs in (1, 64, 128)}
    expected |= {(tp, 1): Outcome.ok for tp in (1, 2)} | {(tp, 64): Outcome.oom for tp in (1, 2)}
    assert outcomes(tmp_path) == expected
    endings = {(r.identity.tp, r.identity.mbs): r.ending for r in records(tmp_path) if r.outcome is Outcome.oom}
    assert all(ending is not None and "allocate" in ending.message for ending in endings.values())
    assert all(ending.phase.split()[0] in {"forward", "backward"} for ending in endings.values())
    assert "no number for gpt-tiny CPU tp=2 mbs=128: skipped mbs=64 ran out of memory" in output


def test_all_microbatches_are_tried_where_the_user_asks_for_it(launch, tmp_path):
    status, _ = launch("-m", "tp=1", "mbs=64,128", "gpu.memory_gb=0.15", "skip_after_oom=false", *QUICK)
    assert status == 0
    assert outcomes(tmp_path) == {(1, 64): Outcome.oom, (1, 128): Outcome.oom}


def test_a_killed_rank_fails_its_cell_with_rank_and_signal_and_the_next_run_measures_it(start_sweep, launch, tmp_path):
    command = ("-m", "tp=2", "mbs=1,2", "profile_dir=out")
    sweep = start_sweep(*command)
    sweep.wait_for(lambda: "sampling" in sweep.output.read_text() or "ok step" in sweep.output.read_text())
    victim = sweep.ranks()[1]
    killed_at = time.monotonic()
    victim.kill()
    output = sweep.finish()
    assert sweep.process.returncode == 1
    (failed,) = [made for made in records(tmp_path) if made.outcome is Outcome.failed]
    assert failed.ending is not None
    assert (failed.ending.rank, failed.ending.signal) == (1, "SIGKILL")
    assert len(records(tmp_path)) == 2, "the other cell has its record"
    assert "ended by SIGKILL" in output
    assert time.monotonic() - killed_at < 60

    status, output = launch(*command)
    assert status == 0, output
    assert set(outcomes(tmp_path).values()) == {Outcome.ok}


def test_a_killed_sweep_leaves_whole_records_and_no_rank_behind(start_sweep, launch, tmp_path):
    command = ("-m", "tp=2", "mbs=1,2,4", *QUICK)
    sweep = start_sweep(*command)
    sweep.wait_for(lambda: (tmp_path / "out/records").is_dir() and any((tmp_path / "out/records").glob("*.json")))
    ranks = sweep.ranks()
    sweep.process.kill()
    sweep.process.wait()
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert not alive
    whole = records(tmp_path)
    assert whole
    assert all(made.outcome is Outcome.ok for made in whole)

    status, output = launch(*command)
    assert status == 0, output
    assert output.count("was there") == len(whole)
    assert set(outcomes(tmp_path).values()) == {Outcome.ok}


def test_an_interrupted_sweep_says_so_and_keeps_what_it_has(start_sweep, tmp_path):
    sweep = start_sweep("-m", "tp=2", "mbs=1,2,4", "profile_dir=out")
    sweep.wait_for(lambda: (tmp_path / "out/records").is_dir() and any((tmp_path / "out/records").glob("*.json")))
    ranks = sweep.ranks()
    os.killpg(sweep.process.pid, signal.SIGINT)
    output = sweep.finish()
    assert sweep.process.returncode == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert not psutil.wait_procs(ranks, timeout=10)[1]
    assert records(tmp_path)


def test_a_rank_that_hangs_ends_its_cell_as_timeout(start_sweep, tmp_path):
    sweep = start_sweep("-m", "tp=2", "mbs=1", "profile_dir=out", "stall_s=4")
    first, second = sweep.wait_for_ranks(2)
    wait_until_they_talk(sweep, [first, second])
    second.send_signal(signal.SIGSTOP)
    output = sweep.finish()
    assert sweep.process.returncode == 1, output
    assert outcomes(tmp_path) == {(2, 1): Outcome.timeout}
    assert "silent for 4 s" in output
    assert not psutil.wait_procs([first, second], timeout=10)[1]


def test_an_architecture_that_cannot_be_split_is_an_outcome(launch, tmp_path):
    status, output = launch("-m", "tp=1,8", "mbs=1", "vm=8", "model.num_attention_heads=4", *QUICK)
    assert status == 0, output
    assert outcomes(tmp_path) == {(1, 1): Outcome.ok, (8, 1): Outcome.infeasible}
    assert "num_attention_heads=4" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tp=3"], "tp=3 does not divide the 4 GPUs of vm=4. Choose tp from 1, 2, 4."),
        (["tp=8"], "tp=8 needs 8 GPUs in one machine; vm=4 has 4. Lower tp, or choose a larger vm."),
        (["model=opt-351"], "there is no model opt-351. Choose from gpt-neo-2.7, gpt-tiny"),
        (["tp=two"], "tp=two: Value 'two' of type 'str' could not be converted to Integer"),
    ],
)
def test_a_wrong_command_line_gets_one_message_and_writes_nothing(launch, tmp_path, arguments, message):
    status, output = launch(*arguments)
    assert status == 2
    assert message in output
    assert len(output.splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["output0.txt"]
