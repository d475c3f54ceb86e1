"""What decides how CUDA computes, at its seam."""

import os

import pytest
import torch

from sailor_exp.errors import NoTensorFloat32Error
from sailor_exp.instruments.cuda_settings import allow_tf32, check_precision, set_environment, settings
from tests.build.cells import cell

DEVICE = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _all_as_before(monkeypatch):
    for name in ("NVIDIA_TF32_OVERRIDE", "CUDA_DEVICE_MAX_CONNECTIONS"):
        monkeypatch.setenv(name, "")
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("shell", ["0", "1", None])
@pytest.mark.parametrize(
    ("overrides", "about_model", "override"),
    [
        (("precision=fp32",), True, "0"),
        (("precision=bf16",), True, "0"),
        (("precision=tf32",), True, None),
        (("profile=overlap", "ranks=2", "precision=tf32"), False, "0"),
    ],
)
def test_what_the_shell_says_of_tf32_changes_no_number(monkeypatch, shell, overrides, about_model, override):
    """cuBLAS takes NVIDIA_TF32_OVERRIDE before what torch asks for."""
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", shell or "")
    if shell is None:
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    set_environment(cell("gpu=a100-40", *overrides), about_model=about_model)
    assert os.environ.get("NVIDIA_TF32_OVERRIDE") == settings()["NVIDIA_TF32_OVERRIDE"] == override


@pytest.mark.parametrize("shell", ["1", "32"])
@pytest.mark.parametrize(("about_model", "connections"), [(True, "1"), (False, None)])
def test_the_order_of_launches_is_megatrons_whatever_the_shell_says(monkeypatch, shell, about_model, connections):
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", shell)
    set_environment(cell("gpu=a100-40", "tp=2"), about_model=about_model)
    assert os.environ.get("CUDA_DEVICE_MAX_CONNECTIONS") == connections
    assert settings()["CUDA_DEVICE_MAX_CONNECTIONS"] == connections


def of_capability(monkeypatch, name, capability):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)


def test_tf32_is_refused_below_compute_capability_8(monkeypatch):
    of_capability(monkeypatch, "Quadro RTX 6000", (7, 5))
    asked = cell("gpu=a100-40", "precision=tf32")
    with pytest.raises(NoTensorFloat32Error, match=r"8\.0 or higher; Quadro RTX 6000 has 7\.5"):
        check_precision(asked, DEVICE)
    check_precision(cell("gpu=a100-40"), DEVICE)
    of_capability(monkeypatch, "NVIDIA A100-SXM4-40GB", (8, 0))
    check_precision(asked, DEVICE)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_settings_are_those_that_torch_has(allowed):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not allowed
    allow_tf32(allowed=allowed)
    assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is allowed
    found = settings()
    assert found["matmul.allow_tf32"] == found["cudnn.allow_tf32"] == str(allowed).lower()
    assert found["matmul.fp32_precision"] in {"tf32" if allowed else "ieee", None}
