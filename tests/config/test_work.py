"""The work of the parts against the published formulas, and bytes counted by hand.

Legend: s sequence, b microbatch, h hidden size, v padded vocabulary, n heads.
"""

import pytest

from sailor_exp.config.architecture import Kind
from sailor_exp.config.parameter_bytes import update_bytes
from sailor_exp.config.schema import Attention, Optimizer, Precision
from sailor_exp.config.work import LARGEST_CACHE_BYTES, Pass, Phase, Training, Work, work_of
from tests.build.cells import cell

S, H, V, HEADS = 2048, 1024, 50304, 16
"""OPT-350 at tp 1."""


def training(*overrides: str, tp: int = 1, mbs: int = 1, **changes) -> Training:
    given = {
        "precision": Precision.fp32,
        "optimizer": Optimizer.adam,
        "attention": Attention.unfused,
        "model": cell("model=opt-350", *overrides).model,
    }
    return Training(tp=tp, mbs=mbs, **{**given, **changes})


@pytest.mark.parametrize(("tp", "mbs"), [(1, 1), (4, 1), (2, 8)])
def test_a_layer_and_a_head_have_the_operations_of_the_published_formula(tp: int, mbs: int) -> None:
    layer, head = (work_of(training(tp=tp, mbs=mbs), kind, Phase.forward).flops for kind in (Kind.layer, Kind.head))
    assert layer == (24 * mbs * S * H**2 + 4 * mbs * S**2 * H) // tp
    padded = {1: 50304, 2: 50432, 4: 50688}[tp]
    assert head == 2 * mbs * S * H * padded // tp


def test_a_backward_has_twice_the_operations_of_its_forward() -> None:
    for kind in (Kind.layer, Kind.head, Kind.embedding):
        forward, backward = (work_of(training(mbs=2), kind, phase) for phase in (Phase.forward, Phase.backward))
        assert backward.flops == 2 * forward.flops


def test_a_fused_kernel_leaves_out_later_positions_except_within_a_window() -> None:
    def attention_flops(kind: Kind, attention: Attention) -> int:
        windowed = training("model.window_size=256", "model.window_attn_skip_freq=[0,1]", attention=attention)
        return work_of(windowed, kind, Phase.forward).flops - 24 * S * H**2

    assert attention_flops(Kind.layer, Attention.unfused) == 4 * S**2 * H
    assert attention_flops(Kind.layer, Attention.sdpa) == 4 * S * (S + 1) // 2 * H
    assert attention_flops(Kind.layer_window, Attention.sdpa) == 4 * S**2 * H


@pytest.mark.parametrize(
    ("precision", "optimizer", "read", "written"),
    [
        (Precision.fp32, Optimizer.adam, 4 + 4 + 8, 4 + 8),
        (Precision.fp32, Optimizer.sgd, 4 + 4, 4),
        (Precision.bf16, Optimizer.adam, 4 + 4 + 8, 4 + 8 + 2),
        (Precision.bf16, Optimizer.sgd, 4 + 4, 4 + 2),
    ],
)
def test_an_update_moves_gradient_parameter_and_states_and_in_bf16_the_parameter_beside_its_master_copy(
    precision: Precision, optimizer: Optimizer, read: int, written: int
) -> None:
    moved = update_bytes(precision, optimizer)
    assert (moved.read, moved.written) == (read, written)


def test_an_update_of_fp32_adam_moves_28_bytes_a_parameter() -> None:
    assert work_of(training(), Kind.embedding, Phase.update).bytes == 28 * 53608448
    bf16 = training(precision=Precision.bf16)
    assert work_of(bf16, Kind.embedding, Phase.update).bytes == 30 * 53608448
    assert work_of(training(), Kind.embedding, Phase.accumulate).bytes == 12 * 53608448


def test_the_backward_of_the_embedding_writes_a_gradient_of_every_word() -> None:
    work = work_of(training(), Kind.embedding, Phase.backward)
    assert (work.flops, work.bytes) == (0, 4 * (53608448 + S * H))


def test_a_layer_moves_its_parameters_its_ends_and_the_scores_that_are_not_fused() -> None:
    fused, unfused = (
        work_of(training(attention=attention, mbs=2), Kind.layer, Phase.forward).bytes
        for attention in (Attention.sdpa, Attention.unfused)
    )
    assert fused == 4 * (12596224 + 2 * 2 * S * H)
    assert unfused - fused == 4 * 4 * 2 * HEADS * S**2
    halved = work_of(training(attention=Attention.sdpa, mbs=2, precision=Precision.bf16), Kind.layer, Phase.forward)
    assert halved.bytes == fused // 2


def test_a_head_moves_the_logits_twice_and_a_final_norm_its_ends() -> None:
    assert work_of(training(), Kind.head, Phase.forward).bytes == 4 * (V * H + 2 * H + S * H + 2 * S * V)
    norm = work_of(training("model.separate_final_norm=true"), Kind.final_norm, Phase.forward)
    assert (norm.flops, norm.bytes) == (0, 4 * 2 * S * H)


def test_a_cache_spares_what_it_holds_of_every_pass() -> None:
    small, large = Pass(size=LARGEST_CACHE_BYTES, times=5), Pass(size=LARGEST_CACHE_BYTES + 10, times=3)
    work = Work(flops=0, passes=(small, large))
    assert work.bytes == 8 * LARGEST_CACHE_BYTES + 30
    assert work.uncached_bytes == 30


def test_a_degree_that_does_not_divide_the_architecture_has_no_work() -> None:
    assert work_of(training(tp=3), Kind.layer, Phase.forward) is None
