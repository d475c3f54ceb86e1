import pytest
import torch

from sailor_exp.instruments.peaks import CpuPeakMeter
from sailor_exp.training.parts import build_parts
from tests.build.cells import cell

BATCH, HEADS, SEQUENCE, HEAD_DIM = 1, 8, 512, 16
SCORES = BATCH * HEADS * SEQUENCE * SEQUENCE * 4


def test_unfused_attention_holds_two_score_tensors_in_the_forward_one_after_it_and_three_in_the_backward(alone):
    """So docs/measuring.md says what does not fit. All else is a tenth of a score tensor."""
    core = build_parts(cell(), torch.device("cpu"))[1].layer.self_attention.core_attention
    core.hidden_from(SEQUENCE, torch.device("cpu"))
    shape = (BATCH, HEADS, SEQUENCE, HEAD_DIM)
    query, key, value = (torch.randn(shape, requires_grad=True) for _ in range(3))
    core.attend(query, key, value).sum().backward()  # what is allocated once
    with CpuPeakMeter(lasting_bytes=0) as meter:
        meter.entering("forward")
        context = core.attend(query, key, value)
        meter.entering("backward")
        context.sum().backward()
    forward, backward = (meter.phases()[phase] for phase in ("forward", "backward"))
    held = [forward.highest, forward.ended, backward.highest]
    assert [bytes_ / SCORES for bytes_ in held] == pytest.approx([2, 1, 3], abs=0.15)
