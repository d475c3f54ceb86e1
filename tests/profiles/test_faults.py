import pytest

from sailor_exp.profiles.faults import faults, gather_faults, infeasibility
from tests.build.cells import cell, gather_config

MODELS = ["gpt-tiny", "opt-350", "opt-30", "gpt-neo-2.7", "llama-3-8"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_every_model_composes_without_a_fault_on_every_vm(model, gpus):
    assert faults(cell(f"model={model}", f"vm='{gpus}'", f"tp={gpus}")) == []


def test_all_faults_are_told_at_once():
    wrong = cell("tp=16", "model.seq_length=4096", "gpu.backend=nccl", "sampling.warmup=1", "stall_s=0")
    found = " ".join(faults(wrong))
    assert len(faults(wrong)) == 5
    for word in ("tp=16", "seq_length=4096", "gpu.backend=nccl", "sampling.warmup=1", "stall_s=0"):
        assert word in found


@pytest.mark.parametrize("gpu", ["cpu", "v100-16", "t4", "titan-rtx", "rtx-2080"])
def test_tf32_is_refused_where_the_kind_of_device_is_known_to_have_none(gpu):
    asked = (f"gpu={gpu}", "precision=tf32")
    for found in (faults(cell(*asked)), gather_faults(gather_config(*asked))):
        (fault,) = found
        assert fault.startswith("precision=tf32: gpu=")
        assert fault.endswith("has no TF32 tensor cores. Choose precision=fp32, or another gpu.")


@pytest.mark.parametrize("gpu", ["a100-40", "h100-80", "rtx-3090", "l4"])
def test_tf32_is_no_fault_on_other_devices(gpu):
    assert faults(cell(f"gpu={gpu}", "precision=tf32")) == []


def test_a_model_has_as_many_ranks_as_it_is_split_over():
    assert faults(cell("tp=2", "profile.ranks=2")) == []
    assert faults(cell("tp=1", "profile.ranks=2")) == [
        "profile.ranks=2: tp=1 pp=1 say how many; leave it out",
    ]
    assert faults(cell("profile=galvatron", "tp=2", "pp=2")) == []


def test_rotary_positions_have_no_end():
    assert faults(cell("model=llama-3-8", "model.seq_length=16384")) == []


def test_gpt_neo_has_heads_that_eight_ranks_cannot_share():
    assert "num_attention_heads=20" in infeasibility(cell("model=gpt-neo-2.7", "vm='8'", "tp=8"))
    assert infeasibility(cell("model=gpt-neo-2.7", "tp=4")) is None
