import pytest

from sailor_exp.config.schema import sampling_target
from sailor_exp.profiles.faults import faults, infeasibility
from sailor_exp.profiles.identity import identity_of
from tests.build.cells import cell

MODELS = ["gpt-tiny", "opt-350", "opt-30", "gpt-neo-2.7", "llama-3-8"]
GPUS = ["cpu", "a100-40", "a100-80", "v100-16", "h100-80", "h200-141", "gh-96", "titan-rtx", "rtx-2080", "rtx-3090"]
GPU_NAMES = [
    "CPU", "A100-40", "A100-80", "V100-16", "H100-80", "H200-141", "GH-96", "Titan-RTX", "RTX-2080", "RTX-3090",
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_every_model_composes_without_a_fault_on_every_vm(model, gpus):
    assert faults(cell(f"model={model}", f"vm='{gpus}'", f"tp={gpus}")) == []


@pytest.mark.parametrize(("gpu", "name"), list(zip(GPUS, GPU_NAMES, strict=True)))
def test_every_gpu_has_the_name_that_planners_key_on(gpu, name):
    asked = cell(f"gpu={gpu}", "tp=4").gpu
    assert asked.name == name
    assert (asked.device, asked.backend) == (("cpu", "gloo") if gpu == "cpu" else ("cuda", "nccl"))
    assert asked.slurm_gres is None if gpu == "cpu" else asked.slurm_gres.endswith(":4")


def test_all_faults_are_told_at_once():
    wrong = cell("tp=16", "model.seq_length=4096", "gpu.backend=nccl", "sampling.warmup=1", "stall_s=0")
    found = " ".join(faults(wrong))
    assert len(faults(wrong)) == 5
    for word in ("tp=16", "seq_length=4096", "gpu.backend=nccl", "sampling.warmup=1", "stall_s=0"):
        assert word in found


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


def test_the_target_is_wider_on_a_cpu():
    assert sampling_target(cell("gpu=cpu")) == 0.03
    assert sampling_target(cell("gpu=a100-40")) == 0.02
    assert sampling_target(cell("sampling.target=0.01")) == 0.01


@pytest.mark.parametrize(
    "change",
    ["tp=2", "mbs=2", "precision=bf16", "optimizer=sgd", "attention=sdpa", "model.num_layers=2", "gpu.memory_gb=1"],
)
def test_what_determines_the_numbers_is_in_the_identity(change):
    assert identity_of(cell(change)).digest != identity_of(cell()).digest


@pytest.mark.parametrize("change", ["force=true", "profile_dir=elsewhere", "sampling.max_steps=20", "vm='8'"])
def test_what_does_not_is_not(change):
    assert identity_of(cell(change)).digest == identity_of(cell()).digest
