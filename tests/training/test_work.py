"""The operations that the formulas give are those that PyTorch counts in the real parts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sailor_exp.config.architecture import Kind
from sailor_exp.config.work import Phase, Training, work_of
from sailor_exp.training.parts import Part, batch_of, build_parts, hidden_states
from tests.build.cells import cell
from tests.build.fake_ranks import fake_group

CPU = torch.device("cpu")


def counted(part: Part, asked) -> tuple[int, int]:
    """Operations of the matrix products of a part's forward and backward."""
    hidden = hidden_states(asked, CPU).requires_grad_()
    with FlopCounterMode(display=False) as forward:
        output = part(*part.inputs(hidden, batch_of(asked, CPU)))
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("tp", [1, 2])
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.window_size=16", "model.window_attn_skip_freq=[0,1]"),
        ("model.num_query_groups=2", "model.activation=swiglu", "model.ffn_hidden_size=200"),
        ("model.add_bias_linear=false", "model.normalization=RMSNorm", "model.separate_final_norm=true"),
    ],
    ids=" ".join,
)
def test_every_part_has_the_operations_that_are_counted_in_it(overrides: tuple[str, ...], tp: int) -> None:
    asked = cell(*overrides, f"tp={tp}", "mbs=2", "model.seq_length=32")
    training = Training(
        model=asked.model,
        tp=tp,
        mbs=2,
        precision=asked.precision,
        optimizer=asked.optimizer,
        attention=asked.attention,
    )
    with fake_group(tp):
        for part in build_parts(asked, CPU):
            found = counted(part, asked)
            given = [work_of(training, Kind(part.kind), phase).flops for phase in (Phase.forward, Phase.backward)]
            assert list(found) == given, part.kind
