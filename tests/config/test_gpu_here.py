"""What `gpu=auto` stands for, by the answers of nvidia-smi."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sailor_exp.command_line import CONF
from sailor_exp.config import gpu_here
from sailor_exp.config.gpu_here import KindHere, kind_here
from sailor_exp.errors import GpuHereError
from tests.build.cells import cell
from tests.build.fake_nvidia_smi import gpus, install

A100, A30, T4 = ("NVIDIA A100-SXM4-40GB", 40960), ("NVIDIA A30", 24576), ("Tesla T4", 15360)
KINDS = [CONF / "gpu"]
CPU = KindHere(choice="cpu", found="no GPU that CUDA sees")

Answering = Callable[..., None]


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Makes the only nvidia-smi on PATH give an answer; there is none before."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(variable, raising=False)
    return lambda *answer, **more: install(tmp_path / "bin", *answer, **more)


def refused(*directories: Path) -> str:
    with pytest.raises(GpuHereError) as raised:
        kind_here(directories or KINDS)
    return str(raised.value)


def test_a_machine_without_nvidia_smi_is_a_cpu(nvidia_smi):
    assert kind_here(KINDS) == CPU


@pytest.mark.parametrize(("out", "status"), [("No devices were found\n", 6), ("No devices were found\n", 0), ("", 0)])
def test_a_machine_whose_driver_finds_no_device_is_a_cpu(nvidia_smi, out, status):
    nvidia_smi(out, status=status)
    assert kind_here(KINDS) == CPU


@pytest.mark.parametrize("visible", ["", "-1", "-1,0", "NoDevFiles"])
def test_a_machine_whose_devices_are_hidden_is_a_cpu_and_its_driver_is_not_asked(nvidia_smi, monkeypatch, visible):
    nvidia_smi("", status=9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert kind_here(KINDS) == CPU


@pytest.mark.parametrize(
    ("out", "err", "status"),
    [
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "", 9),
        ("Unable to determine the device handle for GPU 0000:01:00.0\nNo devices were found\n", "", 6),
        ("No devices were found\n", "Failed to initialize NVML", 6),
        ("", "", 9),
    ],
)
def test_a_driver_that_fails_is_an_error_with_its_words_and_no_cpu(nvidia_smi, out, err, status):
    nvidia_smi(out, err=err, status=status)
    assert refused() == (
        f"gpu=auto: nvidia-smi failed with status {status} and said {' '.join(f'{out} {err}'.split())!r}. "
        "Name the kind, or gpu=cpu."
    )


@pytest.mark.parametrize("line", ["0, GPU-a0, NVIDIA A100", "0, GPU-a0, [Unknown Error], [Unknown Error], [N/A]"])
def test_an_answer_that_is_none_is_an_error(nvidia_smi, line):
    nvidia_smi(line)
    assert f"nvidia-smi said {line!r}" in refused()


def test_a_driver_that_does_not_answer_is_an_error(nvidia_smi, tmp_path, monkeypatch):
    nvidia_smi("")
    (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\nwhile :; do :; done\n")
    monkeypatch.setattr(gpu_here, "_TIMEOUT_S", 0.05)
    assert "timed out after 0.05 seconds" in refused()


def test_a_tool_that_may_not_be_run_is_an_error(nvidia_smi, tmp_path):
    nvidia_smi("")
    (tmp_path / "bin/nvidia-smi").write_text("no program")
    assert "nvidia-smi cannot be asked" in refused()


def test_gpus_of_a_configured_kind_are_that_kind(nvidia_smi):
    nvidia_smi(gpus(A100, A100))
    assert kind_here(KINDS) == KindHere(choice="a100-40", found="NVIDIA A100-SXM4-40GB")


def test_a_gpu_that_no_kind_fits_becomes_one(nvidia_smi):
    nvidia_smi(gpus(("NVIDIA GeForce RTX 2080", 7982)))
    assert kind_here(KINDS) == KindHere(
        choice="rtx-2080-8",
        found="NVIDIA GeForce RTX 2080",
        made={
            "name": "RTX-2080-8",
            "device": "cuda",
            "backend": "nccl",
            "memory_gb": 8,
            "device_name": "^NVIDIA GeForce RTX 2080$",
            "slurm_gres": "gpu:${ranks}",
        },
    )


def test_the_pattern_of_a_made_kind_has_no_special_character_of_the_name(nvidia_smi):
    nvidia_smi(gpus(("NVIDIA X+ (2.0)", 1024)))
    made = kind_here(KINDS).made
    assert (made["name"], made["device_name"]) == ("X-2.0-1", r"^NVIDIA X\+ \(2\.0\)$")


@pytest.mark.parametrize(
    ("gpu", "mib"),
    [
        ("a100-40", 40960),
        ("a100-80", 81920),
        ("v100-16", 16160),
        ("h100-80", 81559),
        ("h100-nvl", 95830),
        ("h200-141", 143771),
        ("b200", 183359),
        ("rtx-3090", 24576),
        ("rtx-4090", 24564),
        ("rtx-5090", 32607),
    ],
)
def test_a_made_kind_counts_memory_as_the_configured_ones_do(nvidia_smi, gpu, mib):
    nvidia_smi(gpus(("NVIDIA Something", mib)))
    assert kind_here(KINDS).made["memory_gb"] == cell(f"gpu={gpu}").gpu.memory_gb


def test_memory_is_needed_only_where_a_kind_is_made(nvidia_smi):
    nvidia_smi(gpus(("NVIDIA A100-SXM4-40GB", "[N/A]")))
    assert kind_here(KINDS).choice == "a100-40"
    nvidia_smi(gpus(("NVIDIA GB10", "[N/A]")))
    assert "no kind fits 'NVIDIA GB10', and its driver gives no memory" in refused()


def test_gpus_of_different_kinds_are_an_error_that_names_them(nvidia_smi):
    nvidia_smi(gpus(A100, T4))
    told = "the GPUs here are of different kinds (NVIDIA A100-SXM4-40GB of 40960 MiB, Tesla T4 of 15360 MiB)"
    assert told in refused()


def test_gpus_of_one_name_and_different_memory_are_of_different_kinds(nvidia_smi):
    nvidia_smi(gpus(("NVIDIA GeForce RTX 3080", 10240), ("NVIDIA GeForce RTX 3080", 12288)))
    assert "different kinds" in refused()


@pytest.mark.parametrize(("visible", "choice"), [("0", "a100-40"), ("1,2", "t4"), ("2,-1,0", "t4"), ("GPU-b", "t4")])
def test_the_devices_that_cuda_sees_are_the_ones_that_count(nvidia_smi, monkeypatch, visible, choice):
    nvidia_smi(gpus(A100, T4, T4))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert kind_here(KINDS).choice == choice


@pytest.mark.parametrize(
    ("visible", "fault"),
    [
        ("0,1", "the GPUs here are of different kinds"),
        ("3", "CUDA_VISIBLE_DEVICES has 3, which names 0 of the 3 GPUs here"),
        ("GPU-", "CUDA_VISIBLE_DEVICES has GPU-, which names 3 of the 3 GPUs here"),
        ("MIG-1", "CUDA_VISIBLE_DEVICES has MIG-1, a slice of a GPU"),
    ],
)
def test_visible_devices_that_leave_no_kind_are_an_error(nvidia_smi, monkeypatch, visible, fault):
    nvidia_smi(gpus(A100, T4, T4))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert fault in refused()


def test_a_number_means_nothing_where_cuda_orders_different_gpus_by_speed(nvidia_smi, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    nvidia_smi(gpus(T4, A100))
    assert "CUDA numbers different GPUs" in refused()
    nvidia_smi(gpus(A100, A100))
    assert kind_here(KINDS).choice == "a100-40"


def test_a_slice_of_a_gpu_is_not_the_gpu(nvidia_smi):
    nvidia_smi(gpus(A100, mig="Enabled"))
    assert "MIG is on" in refused()
    nvidia_smi(gpus(A100, mig="Disabled"))
    assert kind_here(KINDS).choice == "a100-40"


def test_a_gpu_that_fits_two_kinds_is_an_error(nvidia_smi, tmp_path):
    nvidia_smi(gpus(A100))
    (tmp_path / "ours.yaml").write_text("name: Ours\ndevice_name: A100\n")
    assert "'NVIDIA A100-SXM4-40GB' fits the device_name of gpu=a100-40 and gpu=ours" in refused(*KINDS, tmp_path)


def test_kinds_of_a_further_directory_count_and_a_choice_of_both_is_the_first_ones(nvidia_smi, tmp_path):
    nvidia_smi(gpus(A30))
    (tmp_path / "ours.yaml").write_text("name: Ours\ndevice_name: A30$\n")
    (tmp_path / "a100-40.yaml").write_text("name: A100-40\ndevice_name: A30\n")
    (tmp_path / "any.yaml").write_text("name: Any\ndevice_name: null\n")
    assert kind_here([*KINDS, tmp_path]).choice == "ours"


@pytest.mark.parametrize("content", ["device_name: '('", "name: ["])
def test_a_file_that_describes_no_kind_is_named(nvidia_smi, tmp_path, content):
    nvidia_smi(gpus(A30))
    (tmp_path / "ours.yaml").write_text(content)
    assert f"{tmp_path / 'ours.yaml'} describes no kind" in refused(*KINDS, tmp_path)


def test_a_made_kind_does_not_take_the_name_of_another(nvidia_smi, tmp_path):
    nvidia_smi(gpus(A30))
    (tmp_path / "ours.yaml").write_text("name: A30-24\ndevice_name: A30X\n")
    assert "'NVIDIA A30' would be A30-24, which gpu=ours is for another device_name" in refused(*KINDS, tmp_path)
