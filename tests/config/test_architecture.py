import pytest

from sailor_exp.config.architecture import kinds_by_layer_id, measured_layers, padded_vocab_size
from tests.build.cells import cell


@pytest.mark.parametrize(("tp", "padded"), [(1, 50304), (2, 50432), (4, 50688), (8, 51200)])
def test_the_vocabulary_is_padded_to_a_multiple_of_128_tp(tp, padded):
    assert padded_vocab_size(cell("model=opt-350").model, tp) == padded


def test_llama_has_a_final_norm_between_layers_and_head():
    kinds = kinds_by_layer_id(cell("model=llama-3-8").model)
    assert list(kinds) == [str(layer) for layer in range(35)]
    assert (kinds["0"], kinds["32"], kinds["33"], kinds["34"]) == ("embedding", "layer", "final_norm", "head")


def test_gpt_neo_is_measured_by_one_layer_of_each_kind():
    neo = cell("model=gpt-neo-2.7").model
    assert measured_layers(neo) == [1, 2]
    kinds = kinds_by_layer_id(neo)
    assert (kinds["1"], kinds["2"], kinds["31"], kinds["32"]) == ("layer", "layer_window", "layer", "layer_window")


def test_like_layers_are_measured_by_two_or_by_the_only_one():
    assert measured_layers(cell().model) == [1, 2]
    assert measured_layers(cell("model.num_layers=1").model) == [1]
