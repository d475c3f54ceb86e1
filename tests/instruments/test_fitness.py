"""Which devices are refused although they are called as their kind is. torch.cuda is replaced at its seam."""

from types import SimpleNamespace

import pytest
import torch

from sailor_exp.command_line import CONF
from sailor_exp.errors import UnfitDeviceError
from sailor_exp.instruments.fitness import check_fitness
from sailor_exp.sweep import rank_process
from sailor_exp.sweep.messages import Cause, Task
from sailor_exp.units import GIB
from tests.build.cells import cell

CUDA = torch.device("cuda", 0)
CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.fixture
def gpu(monkeypatch):
    """An idle A100-40 under a torch built for CUDA 13; the test changes what it is about."""
    found = SimpleNamespace(
        name="NVIDIA A100-SXM4-40GB", gib=39.4, in_use_gib=0.5, capability=(8, 0), built_for=list(CUDA_13)
    )

    def memory(device):
        return int((found.gib - found.in_use_gib) * GIB), int(found.gib * GIB)

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: found.name)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=int(found.gib * GIB))
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: found.capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: found.built_for)
    return found


def faults(*overrides):
    with pytest.raises(UnfitDeviceError) as caught:
        check_fitness(cell(*overrides), CUDA)
    return caught.value.faults


def test_an_idle_whole_gpu_is_fit_in_both_precisions(gpu):
    for precision in ("fp32", "bf16"):
        check_fitness(cell("gpu=a100-40", f"precision={precision}"), CUDA)


def test_a_slice_is_refused_under_the_name_of_the_whole_gpu_and_fit_as_a_kind_of_its_own(gpu):
    gpu.name, gpu.gib = "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 19.5
    slice_, small = faults("gpu=a100-40")
    assert slice_.startswith("It is a MIG slice.")
    assert small.startswith("It has 19.5 GiB where gpu.memory_gb=40.")
    own = ("gpu=a100-40", "gpu.name=A100-3g", "gpu.memory_gb=20", "gpu.device_name='A100.*MIG 3g'")
    check_fitness(cell(*own), CUDA)


def test_the_largest_slice_is_refused_though_it_has_all_the_memory(gpu):
    gpu.name = "NVIDIA A100-SXM4-40GB MIG 7g.40gb"
    (fault,) = faults("gpu=a100-40")
    assert fault.startswith("It is a MIG slice.")


@pytest.mark.parametrize(
    ("kind", "gib"),  # as CUDA gives it: torch.cuda.get_device_properties(0).total_memory
    [
        ("a100-40", 39.38),
        ("a100-80", 79.14),
        ("v100-16", 15.77),
        ("h100-80", 79.10),
        ("h200-141", 139.72),
        ("gh-96", 94.50),
        ("titan-rtx", 23.64),
        ("rtx-2080", 10.75),
        ("rtx-3090", 23.57),
        ("b200", 178.35),
        ("h100-nvl", 93.10),
        ("h20", 95.00),
        ("l40s", 44.39),
        ("l4", 22.03),
        ("a10", 22.03),
        ("a6000", 47.41),
        ("rtx-4090", 23.52),
        ("rtx-5090", 31.36),
        ("t4", 14.56),
    ],
)
def test_what_the_driver_keeps_of_a_kinds_memory_makes_it_no_other_kind_and_a_sixth_less_does(gpu, kind, gib):
    gpu.gib, gpu.built_for = gib, []
    check_fitness(cell(f"gpu={kind}"), CUDA)
    gpu.gib = gib * 5 / 6
    (fault,) = faults(f"gpu={kind}")
    assert "GiB where gpu.memory_gb=" in fault


def test_every_configured_kind_is_in_that_table():
    (mark,) = (
        mark
        for mark in test_what_the_driver_keeps_of_a_kinds_memory_makes_it_no_other_kind_and_a_sixth_less_does.pytestmark
        if mark.name == "parametrize"
    )
    assert {kind for kind, _ in mark.args[1]} == {path.stem for path in (CONF / "gpu").glob("*.yaml")} - {"cpu"}


@pytest.mark.parametrize(("in_use_gib", "refused"), [(0.5, False), (1.4, False), (1.6, True), (30.0, True)])
def test_a_gpu_of_which_others_use_more_than_a_gibibyte_is_refused(gpu, in_use_gib, refused):
    gpu.in_use_gib = in_use_gib
    if refused:
        (fault,) = faults("gpu=a100-40")
        assert fault.startswith(f"{in_use_gib} GiB of its memory are in use")
    else:
        check_fitness(cell("gpu=a100-40"), CUDA)


def test_bf16_is_refused_where_torch_would_emulate_it(gpu):
    gpu.name, gpu.gib, gpu.capability = "Tesla T4", 14.56, (7, 5)
    assert faults("gpu=t4", "precision=bf16") == (
        "precision=bf16 needs compute capability 8.0; it has 7.5, where torch emulates it. Take precision=fp32.",
    )
    check_fitness(cell("gpu=t4"), CUDA)


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((7, 0), CUDA_13, False),  # a V100 under CUDA 13
        ((7, 0), ["sm_50", "sm_60", "sm_70", "sm_75"], True),
        ((8, 9), CUDA_13, True),  # an L4 runs the code for sm_86
        ((9, 0), ["sm_80", "sm_86"], False),
        ((9, 0), ["sm_80", "compute_80"], True),  # compiled by the driver
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_90a"], False),
        ((10, 3), ["sm_100f"], True),
        ((12, 1), CUDA_13, True),
        ((6, 1), CUDA_13, False),
        ((9, 0), ["gfx90a"], True),
        ((7, 0), [], True),  # a build that does not say
    ],
)
def test_a_gpu_for_which_torch_has_no_kernels_is_refused_before_the_first_one(gpu, capability, built_for, runs):
    gpu.capability, gpu.built_for = capability, built_for
    if runs:
        check_fitness(cell("gpu=a100-40"), CUDA)
    else:
        (fault,) = faults("gpu=a100-40")
        assert f"none for its compute capability {capability[0]}.{capability[1]}" in fault


def test_all_faults_are_told_at_once_with_the_name_that_was_found(gpu):
    gpu.in_use_gib, gpu.capability, gpu.built_for = 12.0, (7, 0), CUDA_13
    with pytest.raises(UnfitDeviceError, match="gpu=A100-40 cannot be measured on 'NVIDIA A100-SXM4-40GB'") as caught:
        check_fitness(cell("gpu=a100-40", "precision=bf16"), CUDA)
    assert len(caught.value.faults) == 3


def test_a_cpu_is_always_fit():
    check_fitness(cell("precision=bf16"), torch.device("cpu"))


def test_an_unfit_device_ends_the_sweep_before_its_ranks_meet(gpu, monkeypatch):
    gpu.in_use_gib = 12.0
    monkeypatch.setattr(rank_process, "rank_device", lambda cell, rank: CUDA)
    monkeypatch.setattr(rank_process, "join_group", lambda *_, **__: pytest.fail("joined"))
    task = Task(cells=[cell("gpu=a100-40")], init_method="file:///nowhere", logs=[])
    voice = SimpleNamespace(progress=lambda phase: None)
    with pytest.raises(UnfitDeviceError) as caught:
        rank_process._measure_all(0, voice, task)
    assert rank_process.cause_of(caught.value, task.cells[0]) is Cause.refused
