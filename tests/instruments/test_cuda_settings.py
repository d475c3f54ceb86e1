"""What decides how CUDA computes, at its seam."""

import pytest
import torch

from sailor_exp.errors import NoTensorFloat32Error
from sailor_exp.instruments.cuda_settings import allow_tf32, check_precision, settings
from tests.build.cells import cell

DEVICE = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _products_as_before():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


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
