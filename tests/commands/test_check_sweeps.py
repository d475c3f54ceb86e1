"""`profile=check`, run as a user runs it: how good the prediction is, and how cells end."""

import pytest

from sailor_exp.profiles.check.comparison import comparisons
from sailor_exp.profiles.check.measurement import CheckMeasurement
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome
from tests.bench.marked_ranks import marking_cost

pytestmark = pytest.mark.sweep

QUICK = ("profile_dir=out", "sampling.warmup=2")


def records(directory):
    return [made for _, made in record_files.read_all(directory / "out", "check", CheckMeasurement)]


def test_the_sum_of_the_parts_predicts_a_training_step_and_its_memory(launch, tmp_path):
    steps = ("sampling.min_steps=40", "sampling.max_steps=40")
    status, output = launch("profile=layers", "mbs=2", *QUICK, *steps)
    assert status == 0, output
    status, output = launch("-m", "profile=check", "mbs=2", "num_microbatches=2", *QUICK, *steps)
    assert status == 0, output
    (made,) = records(tmp_path)
    rows = {(row.source, row.quantity): row for row in comparisons(made.measured)}
    assert abs(rows["interleaved", "total"].error) <= 0.2
    assert abs(rows["interleaved", "peak_bytes"].error) <= 0.03
    assert abs(rows["earlier", "peak_bytes"].error) <= 0.03
    assert rows["earlier", "total"].record == next((tmp_path / "out/records").glob("layers_*")).name
    assert "predicted interleaved" in output


@pytest.mark.parametrize("overrides", [("tp=2", "precision=bf16"), ("tp=2", "pp=2")])
def test_every_way_to_split_the_model_is_checked(launch, tmp_path, overrides):
    few = ("sampling.min_steps=2", "sampling.max_steps=2", "num_microbatches=3")
    status, output = launch("profile=check", "mbs=1", *overrides, *QUICK, *few)
    assert status == 0, output
    (made,) = records(tmp_path)
    check = made.measured
    asked = made.identity
    assert len(check.full.total_s) == len(check.peak_bytes) == asked.tp * asked.pp
    assert [kinds.count("layer") for kinds in check.stages] == [4 // asked.pp] * asked.pp
    (prediction,) = check.predictions
    assert abs(prediction.peak_error) <= 0.05


def test_a_killed_rank_fails_its_cell_with_rank_and_signal(start_sweep, tmp_path):
    sweep = start_sweep("profile=check", "pp=2", "mbs=1", *QUICK, "sampling.min_steps=100")
    sweep.wait_for(lambda: "sampling" in sweep.output.read_text())
    sweep.ranks()[1].kill()
    output = sweep.finish()
    assert sweep.process.returncode == 1
    (failed,) = records(tmp_path)
    assert (failed.outcome, failed.ending.rank, failed.ending.signal) == (Outcome.failed, 1, "SIGKILL")
    assert "ended by SIGKILL" in output


def test_running_out_of_memory_and_too_few_layers_are_outcomes(launch, tmp_path):
    status, output = launch("profile=check", "mbs=64", "gpu.memory_gb=0.15", *QUICK)
    assert status == 0, output
    status, output = launch("profile=check", "pp=4", "mbs=1", "model.num_layers=2", *QUICK)
    assert status == 0, output
    assert {made.outcome for made in records(tmp_path)} == {Outcome.oom, Outcome.infeasible}
    assert "2 layers leave one of pp=4 stages empty" in output


def test_marks_cost_a_step_no_more_than_a_hundredth(tmp_path):
    cost = marking_cost(tmp_path, ("mbs=2",), tp=1, rounds=96)
    print(f"marks: {100 * cost.share:+.2f}% ± {100 * cost.half_width:.2f} of {1e3 * cost.unmarked_s:.1f} ms")
    assert cost.share - cost.half_width <= 0.01
