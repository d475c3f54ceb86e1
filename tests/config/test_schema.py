import pytest

from sailor_exp.command_line import CONF
from sailor_exp.config.schema import sampling_target
from tests.build.cells import cell

GPUS = {
    "cpu": "CPU",
    "a100-40": "A100-40",
    "a100-80": "A100-80",
    "v100-16": "V100-16",
    "h100-80": "H100-80",
    "h200-141": "H200-141",
    "gh-96": "GH-96",
    "titan-rtx": "Titan-RTX",
    "rtx-2080": "RTX-2080",
    "rtx-3090": "RTX-3090",
    "b200": "B200",
    "h100-nvl": "H100-NVL",
    "h20": "H20",
    "l40s": "L40S",
    "l4": "L4",
    "a10": "A10",
    "a6000": "A6000",
    "rtx-4090": "RTX-4090",
    "rtx-5090": "RTX-5090",
    "t4": "T4",
}


def test_every_gpu_is_in_the_list_of_names_that_planners_key_on():
    assert GPUS.keys() == {path.stem for path in (CONF / "gpu").glob("*.yaml")}


@pytest.mark.parametrize(("gpu", "name"), GPUS.items())
def test_every_gpu_has_the_name_that_planners_key_on(gpu, name):
    asked = cell(f"gpu={gpu}", "tp=4").gpu
    assert asked.name == name
    assert (asked.device, asked.backend) == (("cpu", "gloo") if gpu == "cpu" else ("cuda", "nccl"))
    assert asked.slurm_gres is None if gpu == "cpu" else asked.slurm_gres.endswith(":4")


def test_the_target_is_wider_on_a_cpu():
    assert sampling_target(cell("gpu=cpu")) == 0.03
    assert sampling_target(cell("gpu=a100-40")) == 0.02
    assert sampling_target(cell("sampling.target=0.01")) == 0.01
