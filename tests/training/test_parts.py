"""Parts built from Megatron-Core hold the parameters that the published profiles say."""

import pytest
import torch

from sailor_exp.config.architecture import Kind, parameters_of_part
from sailor_exp.training.parts import Part, batch_of, build_parts, parameter_count
from tests.build.cells import cell
from tests.build.fake_ranks import fake_group

# params_floats of layers 0, 1 and 25 in the published llm_info.json (eth-easl/sailor, cf2c8e3).
PUBLISHED_OPT_350 = {
    1: (53608448, 12596224, 51513344),
    2: (27918336, 6301184, 25823232),
    4: (15073280, 3153664, 12978176),
    8: (8650752, 1579904, 6555648),
}
# The published profile has no language-model head; these are projection and final norm, v h / tp + 2 h.
GPT_NEO_HEADS = {1: 128783360, 2: 64558080, 4: 32445440}


def parts_on_meta(*overrides: str, tp: int) -> dict[Kind, Part]:
    asked = cell(*overrides, f"tp={tp}", "vm='8'")
    with fake_group(tp), torch.device("meta"):
        return {part.kind: part for part in build_parts(asked, torch.device("meta"))}


@pytest.mark.parametrize("tp", PUBLISHED_OPT_350)
def test_opt_350_has_the_published_parameters(tp):
    parts = parts_on_meta("model=opt-350", tp=tp)
    counts = tuple(parameter_count(parts[kind]) for kind in (Kind.embedding, Kind.layer, Kind.head))
    assert counts == PUBLISHED_OPT_350[tp]


@pytest.mark.parametrize("tp", GPT_NEO_HEADS)
def test_gpt_neo_has_a_real_head(tp):
    assert parameter_count(parts_on_meta("model=gpt-neo-2.7", tp=tp)[Kind.head]) == GPT_NEO_HEADS[tp]


def test_gpt_neo_has_layers_of_two_kinds_with_equal_parameters():
    parts = parts_on_meta("model=gpt-neo-2.7", tp=1)
    assert list(parts) == [Kind.embedding, Kind.layer, Kind.layer_window, Kind.head]
    assert parameter_count(parts[Kind.layer]) == parameter_count(parts[Kind.layer_window])


def test_llama_has_grouped_attention_a_gated_network_no_biases_and_an_untied_head():
    parts = parts_on_meta("model=llama-3-8", tp=2)
    hidden, ffn, vocabulary, kv = 4096, 14336, 128256, 8 * 128
    layer = hidden * (hidden + 2 * kv) // 2 + hidden * hidden // 2 + 3 * hidden * ffn // 2 + 2 * hidden
    assert parameter_count(parts[Kind.layer]) == layer
    assert parameter_count(parts[Kind.embedding]) == vocabulary // 2 * hidden
    assert parameter_count(parts[Kind.final_norm]) == hidden
    assert parameter_count(parts[Kind.head]) == vocabulary // 2 * hidden


@pytest.mark.parametrize("tp", [1, 4])
@pytest.mark.parametrize(
    "overrides",
    [
        ("model=opt-30",),
        ("model=gpt-neo-2.7",),
        ("model=llama-3-8",),
        ("model=llama-3-8", "model.add_bias_linear=true", "model.separate_final_norm=false"),
        ("model=opt-350", "model.activation=swiglu", "model.separate_final_norm=true", "model.num_query_groups=4"),
    ],
    ids=" ".join,
)
def test_every_part_has_the_parameters_that_the_architecture_gives(overrides, tp):
    model = cell(*overrides).model
    built = {kind: parameter_count(part) for kind, part in parts_on_meta(*overrides, tp=tp).items()}
    assert built == {kind: parameters_of_part(model, kind, tp) for kind in built}


@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
@pytest.mark.parametrize("window", [(), ("model.window_size=3",)])
def test_attention_sees_earlier_positions_within_its_window_and_no_others(attention, window):
    asked = cell("model.num_layers=1", f"attention={attention}", *window)
    with fake_group(1):
        layer = build_parts(asked, torch.device("cpu"))[1]
        core = layer.layer.self_attention.core_attention
        sequence, heads, width = 8, 2, 4
        query, key, value = (torch.randn(sequence, 1, heads, width, requires_grad=True) for _ in range(3))
        output = core(query, key, value, None)
    for position in range(sequence):
        gradient = torch.autograd.grad(output[position].sum(), value, retain_graph=True)[0]
        seen = [bool(gradient[other].abs().sum() > 1e-9) for other in range(sequence)]
        reach = 3 if window else sequence
        assert seen == [position - reach < other <= position for other in range(sequence)]


def test_both_attention_kernels_give_the_same_result_with_grouped_queries():
    torch.manual_seed(0)
    outputs = []
    query, key, value = torch.randn(8, 2, 8, 16), torch.randn(8, 2, 2, 16), torch.randn(8, 2, 2, 16)
    for attention in ("unfused", "sdpa"):
        asked = cell("model.num_query_groups=2", f"attention={attention}")
        with fake_group(1):
            core = build_parts(asked, torch.device("cpu"))[1].layer.self_attention.core_attention
            outputs.append(core(query, key, value, None))
    assert outputs[0].shape == (8, 2, 8 * 16)
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


def test_ranks_get_the_same_batch():
    first, second = (batch_of(cell("mbs=2"), torch.device("cpu")) for _ in range(2))
    assert torch.equal(first.tokens, second.tokens)
    assert first.tokens.shape == first.labels.shape == first.positions.shape == (2, 128)
