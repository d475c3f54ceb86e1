import pytest

from sailor_exp.config.schema import sampling_target
from tests.build.cells import cell

GPUS = ["cpu", "a100-40", "a100-80", "v100-16", "h100-80", "h200-141", "gh-96", "titan-rtx", "rtx-2080", "rtx-3090"]
GPU_NAMES = [
    "CPU", "A100-40", "A100-80", "V100-16", "H100-80", "H200-141", "GH-96", "Titan-RTX", "RTX-2080", "RTX-3090",
]  # fmt: skip


@pytest.mark.parametrize(("gpu", "name"), list(zip(GPUS, GPU_NAMES, strict=True)))
def test_every_gpu_has_the_name_that_planners_key_on(gpu, name):
    asked = cell(f"gpu={gpu}", "tp=4").gpu
    assert asked.name == name
    assert (asked.device, asked.backend) == (("cpu", "gloo") if gpu == "cpu" else ("cuda", "nccl"))
    assert asked.slurm_gres is None if gpu == "cpu" else asked.slurm_gres.endswith(":4")


def test_the_target_is_wider_on_a_cpu():
    assert sampling_target(cell("gpu=cpu")) == 0.03
    assert sampling_target(cell("gpu=a100-40")) == 0.02
    assert sampling_target(cell("sampling.target=0.01")) == 0.01
