"""`profile=varuna` and `profile=oobleck`, run as a user runs them: records, files, and how cells end."""

import json

import pytest

from sailor_exp.profiles.registry import profile_named
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome

pytestmark = pytest.mark.sweep

VARUNA = "out/varuna_profile_gpt-tiny_CPU.json"
LAYERS = ["0", "1", "2", "3", "4", "5"]


def content(path):
    return json.loads(path.read_text())


def outcomes(directory):
    found = record_files.read_every(directory / "out", lambda name: profile_named(name).schema)
    return {(made.identity.tp, made.identity.mbs): made.outcome for _, made in found}


def test_varuna_has_every_layer_of_every_cell_but_of_those_out_of_memory(launch, tmp_path):
    status, output = launch("-m", "profile=varuna", "tp=1,2", "mbs=1,64", "gpu.memory_gb=0.15", "profile_dir=out")
    assert status == 0, output
    assert outcomes(tmp_path) == {
        (1, 1): Outcome.ok,
        (2, 1): Outcome.ok,
        (1, 64): Outcome.oom,
        (2, 64): Outcome.oom,
    }
    found = content(tmp_path / VARUNA)
    assert {mbs: list(cells) for mbs, cells in found.items()} == {"1": ["1", "2"]}
    assert all(list(layers) == LAYERS for layers in found["1"].values())
    assert found["1"]["1"]["1"] > found["1"]["2"]["1"] > 0
    assert "no number for gpt-tiny CPU tp=2 mbs=64: oom" in output

    before = (tmp_path / VARUNA).stat().st_mtime_ns
    status, output = launch("-m", "profile=varuna", "tp=1,2", "mbs=1,64", "gpu.memory_gb=0.15", "profile_dir=out")
    assert (status, output.count("was there")) == (0, 4)
    assert (tmp_path / VARUNA).stat().st_mtime_ns == before


def test_oobleck_keeps_what_the_layers_profile_says_and_the_same_command_brings_a_lost_file_back(launch, tmp_path):
    quick = ("sampling.min_steps=1", "sampling.max_steps=1", "sampling.warmup=2", "profile_dir=out")
    assert launch("tp=1", *quick)[0] == 0
    status, output = launch("-m", "profile=oobleck", "tp=1,2", "profile_dir=out")
    assert status == 0, output
    path = tmp_path / "out/oobleck_profile_gpt-tiny_CPU.json"
    found = content(path)
    assert list(found) == ["1", "2"]
    memory = content(tmp_path / "out/profile_gpt-tiny_CPU_1_1.json")["memory"]
    assert found["1"] == {layer: memory[layer]["act_mem_bytes"] for layer in LAYERS}
    path.unlink()
    assert launch("-m", "profile=oobleck", "tp=1,2", "profile_dir=out")[0] == 0
    assert content(path) == found


def test_a_killed_rank_fails_its_cell_and_the_file_has_the_others(start_sweep, tmp_path):
    sweep = start_sweep("-m", "profile=varuna", "tp=2", "mbs=1,2", "sampling.warmup=400", "profile_dir=out")
    first = tmp_path / VARUNA
    sweep.wait_for(first.exists)
    sweep.wait_for(lambda: len(sweep.ranks()) == 2)
    sweep.ranks()[1].kill()
    output = sweep.finish()
    assert sweep.process.returncode == 1, output
    assert outcomes(tmp_path) == {(2, 1): Outcome.ok, (2, 2): Outcome.failed}
    assert "rank 1 was ended by SIGKILL" in output
    assert list(content(first)) == ["1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile=oobleck", "mbs=2"], "mbs=2: profile=oobleck has no use for it; leave it out"),
        (["pp=2"], "pp=2: profile=layers has no use for it; leave it out"),
        (["ranks=2"], "ranks=2: profile=layers has no use for it; leave it out"),
        (["profile.name=other"], "profile.name=other is no profile. Choose from check, galvatron, layers"),
    ],
)
def test_a_key_that_a_profile_has_no_use_for_is_a_fault(launch, arguments, message):
    status, output = launch(*arguments)
    assert status == 2
    assert message in output
