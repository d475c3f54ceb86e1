"""`profile=galvatron`, run as a user runs it, and what the exporter makes of it.

gpt-tiny has hidden size 128, a vocabulary of 4096 and 128 positions. States are 16 bytes a parameter: fp32 and Adam.
"""

import json
from pathlib import Path

import pytest

from sailor_exp.config.parameter_bytes import parameter_share_of_states
from sailor_exp.config.schema import Optimizer, Precision
from sailor_exp.exporters.galvatron.memory import Strategies, memory_profile
from sailor_exp.profiles.galvatron.measurement import StagesMeasurement
from sailor_exp.profiles.galvatron.profile import read_file
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome
from sailor_exp.units import MIB

H, SEQUENCE, HEADS, VOCABULARY = 128, 128, 8, 4096
LAYER_BYTES = 4 * (12 * H * H + 13 * H)
EMBEDDING_BYTES = 4 * H * (VOCABULARY + SEQUENCE)
HEAD_BYTES = 4 * (H * VOCABULARY + 2 * H)
LAYER_KEEPS = 4 * (16 * SEQUENCE * H + HEADS * SEQUENCE**2 + 4 * SEQUENCE)


def outcomes(directory: Path) -> dict[tuple[int, int], Outcome]:
    found = [made for _, made in record_files.read_all(directory / "out", "galvatron", StagesMeasurement)]
    return {(made.identity.pp, made.identity.tp): made.outcome for made in found}


def exported(path: Path, precision: Precision = Precision.fp32, optimizer: Optimizer = Optimizer.adam):
    strategies = Strategies(path=path, command="", key="", content=read_file(path))
    return memory_profile(strategies, parameter_share_of_states(precision, optimizer))


@pytest.mark.sweep
def test_what_is_measured_exports_as_the_layer_it_is(launch, tmp_path):
    status, output = launch("-m", "profile=galvatron", "pp=1,2", "tp=1,2", "vm=2", "profile_dir=out")
    assert status == 0, output
    assert outcomes(tmp_path) == {
        (1, 1): Outcome.ok,
        (1, 2): Outcome.ok,
        (2, 1): Outcome.ok,
        (2, 2): Outcome.infeasible,
    }
    assert "pp=2 tp=2 takes 4 GPUs; vm=2 has 2" in output
    found = exported(tmp_path / "out/memory_profile.json")
    assert found["layertype_0"]["parameter_size"] == pytest.approx(LAYER_BYTES / MIB, rel=1e-4)
    activations = found["layertype_0"]["tp_activation_per_bsz_dict"]
    assert activations["1"] == pytest.approx(LAYER_KEEPS / MIB, rel=1e-4)
    assert 0.5 < activations["2"] / activations["1"] < 0.65
    states = {name: found[f"other_memory_{name}"]["model_states"] for name in ("pp_off", "pp_on_first", "pp_on_last")}
    assert states["pp_off"] == pytest.approx(4 * (EMBEDDING_BYTES + HEAD_BYTES) / MIB, rel=1e-3)
    assert states["pp_on_first"] == pytest.approx(4 * EMBEDDING_BYTES / MIB, rel=1e-3)
    assert states["pp_on_last"] == pytest.approx(4 * HEAD_BYTES / MIB, rel=1e-3)
    first = found["2_1_1"]
    grown_by = first["layernum[2]_bsz1_rank0_act"] - first["layernum[1]_bsz1_rank0_act"]
    assert grown_by == pytest.approx(activations["1"], rel=1e-3), "the first stage has one layer more"


@pytest.mark.sweep
def test_the_parameters_are_the_layers_own_in_another_precision_and_with_another_optimizer(launch, tmp_path):
    how = ("precision=bf16", "optimizer=sgd")
    status, output = launch("-m", "profile=galvatron", "pp=1,2", "tp=1", *how, "profile_dir=out")
    assert status == 0, output
    found = exported(tmp_path / "out/memory_profile.json", Precision.bf16, Optimizer.sgd)
    assert found["layertype_0"]["parameter_size"] == pytest.approx(LAYER_BYTES / 2 / MIB, rel=1e-4)


@pytest.mark.sweep
def test_a_strategy_out_of_memory_is_absent_from_the_file_and_told(launch, tmp_path):
    status, output = launch(
        "-m", "profile=galvatron", "pp=2,1", "tp=1", "model.vocab_size=100000", "gpu.memory_gb=0.45", "profile_dir=out"
    )
    assert status == 0, output
    assert outcomes(tmp_path) == {(2, 1): Outcome.ok, (1, 1): Outcome.oom}
    assert list(json.loads((tmp_path / "out/memory_profile.json").read_text())) == ["2_1_1"]
    assert "no number for gpt-tiny CPU pp=1 tp=1: oom" in output


@pytest.mark.sweep
def test_a_killed_rank_fails_its_strategy_and_the_file_has_the_others(launch, start_sweep, tmp_path):
    assert launch("profile=galvatron", "sampling.warmup=2", "profile_dir=out")[0] == 0
    sweep = start_sweep("-m", "profile=galvatron", "pp=1,2", "tp=1", "sampling.warmup=100000", "profile_dir=out")
    sweep.wait_for_ranks(2)[0].kill()
    output = sweep.finish()
    assert sweep.process.returncode == 1, output
    assert outcomes(tmp_path) == {(1, 1): Outcome.ok, (2, 1): Outcome.failed}
    assert "rank 0 was ended by SIGKILL" in output
    assert list(json.loads((tmp_path / "out/memory_profile.json").read_text())) == ["1_1_1"]


@pytest.mark.sweep
def test_a_stage_that_its_neighbour_waits_for_in_vain_times_out(start_sweep, tmp_path):
    sweep = start_sweep("profile=galvatron", "pp=2", "stall_s=3", "sampling.warmup=100000", "profile_dir=out")
    sweep.wait_for_ranks(2)[1].suspend()
    output = sweep.finish()
    assert sweep.process.returncode == 1, output
    assert outcomes(tmp_path) == {(2, 1): Outcome.timeout}
    assert not (tmp_path / "out/memory_profile.json").exists()
