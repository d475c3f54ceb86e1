"""What runs only on a GPU, at its seam."""

from types import SimpleNamespace

import pytest
import torch

from sailor_exp.command_line import CONF
from sailor_exp.errors import DeviceMismatchError, TooFewDevicesError
from sailor_exp.instruments import device
from sailor_exp.records.provenance import cpu_model
from tests.build.cells import cell


def test_a_device_of_another_kind_is_refused_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    asked = cell("gpu=a100-40")
    with pytest.raises(DeviceMismatchError, match=r"A100-40.*found 'NVIDIA H100 80GB HBM3'"):
        device.check_device(asked, torch.device("cuda", 0))
    device.check_device(cell("gpu=h100-80"), torch.device("cuda", 0))
    device.check_device(cell(), torch.device("cpu"))


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("a100-40", "NVIDIA A100-SXM4-40GB"),
        ("a100-80", "NVIDIA A100 80GB PCIe"),
        ("v100-16", "Tesla V100-SXM2-16GB"),
        ("h100-80", "NVIDIA H100 80GB HBM3"),
        ("h200-141", "NVIDIA H200"),
        ("gh-96", "NVIDIA GH200 480GB"),
        ("titan-rtx", "NVIDIA TITAN RTX"),
        ("rtx-2080", "NVIDIA GeForce RTX 2080 Ti"),
        ("rtx-3090", "NVIDIA GeForce RTX 3090"),
        ("b200", "NVIDIA B200"),
        ("h100-nvl", "NVIDIA H100 NVL"),
        ("h20", "NVIDIA H20"),
        ("l40s", "NVIDIA L40S"),
        ("l4", "NVIDIA L4"),
        ("a10", "NVIDIA A10"),
        ("a6000", "NVIDIA RTX A6000"),
        ("rtx-4090", "NVIDIA GeForce RTX 4090"),
        ("rtx-5090", "NVIDIA GeForce RTX 5090"),
        ("t4", "Tesla T4"),
    ],
)
def test_each_gpu_knows_its_drivers_name_and_no_other_gpu_does(monkeypatch, gpu, name):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    for choice in (path.stem for path in (CONF / "gpu").glob("*.yaml") if path.stem != "cpu"):
        if choice == gpu:
            device.check_device(cell(f"gpu={choice}"), torch.device("cuda", 0))
        else:
            with pytest.raises(DeviceMismatchError):
                device.check_device(cell(f"gpu={choice}"), torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("h100-80", "NVIDIA H100 NVL"),
        ("gh-96", "NVIDIA GH200 144G HBM3e"),
        ("h20", "NVIDIA H20-3e"),
        ("b200", "NVIDIA GB200"),
        ("l4", "NVIDIA L40"),
        ("l40s", "NVIDIA L40"),
        ("a10", "NVIDIA A10G"),
        ("a6000", "NVIDIA RTX 6000 Ada Generation"),
        ("rtx-3090", "NVIDIA GeForce RTX 3090 Ti"),
        ("rtx-4090", "NVIDIA GeForce RTX 4090 D"),
        ("rtx-5090", "NVIDIA GeForce RTX 5090 Laptop GPU"),
        ("t4", "NVIDIA T4G"),
    ],
)
def test_a_sister_is_another_gpu(monkeypatch, gpu, name):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    with pytest.raises(DeviceMismatchError):
        device.check_device(cell(f"gpu={gpu}"), torch.device("cuda", 0))


def test_more_ranks_than_visible_devices_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TooFewDevicesError, match="2 ranks need 2 CUDA devices; 1 are visible"):
        device.rank_device(cell("gpu=a100-40", "tp=2"), 1)


@pytest.mark.parametrize(("memory_gb", "fraction"), [(80, None), (20, 0.25)])
def test_the_allocator_is_held_to_less_than_the_device_has_only_where_that_is_asked(monkeypatch, memory_gb, fraction):
    held = []
    properties = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: held.append(share))
    device.rank_device(cell("gpu=h100-80", f"gpu.memory_gb={memory_gb}"), 0)
    assert held == ([] if fraction is None else [fraction])


@pytest.fixture
def one_gpu(monkeypatch):
    properties = SimpleNamespace(name="NVIDIA H100", uuid="1-2-3", total_memory=85 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


def test_driver_and_clocks_are_read_where_they_can_be(monkeypatch, tmp_path, one_gpu):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$1" in --id=GPU-1-2-3) echo "550.54.15, 1980, 2619, [N/A]";; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = device.facts(torch.device("cuda", 0))
    assert (found.driver, found.uuid, found.memory_bytes) == ("550.54.15", "GPU-1-2-3", 85 * 10**9)
    assert found.clock_mhz == {"sm": 1980, "memory": 2619, "sm_max": None}
    assert found.cuda == torch.version.cuda


def test_what_cannot_be_read_is_none(monkeypatch, tmp_path, one_gpu):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = device.facts(torch.device("cuda", 0))
    assert found.driver is None
    assert set(found.clock_mhz.values()) == {None}


def test_a_cpu_is_known_by_its_model():
    assert device.facts(torch.device("cpu")).name == cpu_model() != ""
