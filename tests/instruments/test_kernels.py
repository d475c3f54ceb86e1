import pytest
import torch
from torch import nn

from sailor_exp.instruments.kernels import fused_kernels
from sailor_exp.profiles.layers import rank
from tests.build.cells import cell
from tests.build.fake_instruments import Voice

CPU = torch.device("cpu")
QUICK = ("sampling.warmup=2", "sampling.min_steps=2", "sampling.max_steps=2")


class Fused(torch.autograd.Function):
    @staticmethod
    def forward(context, entered):
        return entered + 1

    @staticmethod
    def backward(context, gradient):
        return gradient


class FusedRmsNorm(Fused):
    """Ends in the name that autograd gives the node of CUDA's fused RMSNorm, FusedRmsNormBackward0, but for the 0."""


def test_what_ran_in_one_kernel_is_named_once_and_what_ran_step_by_step_is_not():
    entered = torch.randn(2, 8, requires_grad=True)
    layer, root = nn.LayerNorm(8), nn.RMSNorm(8)
    assert fused_kernels(layer(layer(entered)).sum()) == ["NativeLayerNorm"]
    assert fused_kernels(root(entered).sum()) == []
    assert fused_kernels(FusedRmsNorm.apply(layer(entered)).sum()) == ["FusedRmsNorm", "NativeLayerNorm"]


@pytest.mark.parametrize(
    ("overrides", "kernels"),
    [
        ((), ["NativeLayerNorm"]),
        (("attention=sdpa",), ["NativeLayerNorm", "ScaledDotProductFlashAttentionForCpu"]),
        (("attention=sdpa", "model.normalization=RMSNorm"), ["ScaledDotProductFlashAttentionForCpu"]),
    ],
)
def test_a_rank_tells_which_fused_kernels_its_chain_ran(alone, overrides, kernels):
    asked = cell(*QUICK, *overrides)
    assert rank.LayersRank(asked, CPU, Voice()).measure(asked).kernels == kernels
