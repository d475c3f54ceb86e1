import itertools

import pytest

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.stages import stage_layer_ids, too_few_layers
from tests.build.cells import cell


def split(layers: int, pp: int, *overrides: str) -> list[list[int]]:
    return stage_layer_ids(cell(f"model.num_layers={layers}", *overrides).model, pp)


def test_layers_are_shared_out_evenly_and_the_last_stages_take_what_is_left():
    assert split(4, 1) == [[0, 1, 2, 3, 4, 5]]
    assert split(4, 2) == [[0, 1, 2], [3, 4, 5]]
    assert split(3, 2) == [[0, 1], [2, 3, 4]]
    assert split(6, 4) == [[0, 1], [2], [3, 4], [5, 6, 7]]


def test_the_embedding_alone_is_a_stage():
    assert split(1, 2) == [[0], [1, 2]]
    assert split(3, 4) == [[0], [1], [2], [3, 4]]


def test_a_final_norm_of_its_own_stands_with_the_head():
    assert split(2, 2, "model.separate_final_norm=true") == [[0, 1], [2, 3, 4]]


@pytest.mark.parametrize("pp", [1, 2, 4, 8])
@pytest.mark.parametrize("layers", range(1, 12))
def test_every_layer_stands_on_one_stage_and_none_is_empty(layers, pp):
    model = cell(f"model.num_layers={layers}").model
    if too_few_layers(model, pp):
        with pytest.raises(ValueError, match="empty"):
            stage_layer_ids(model, pp)
        return
    stages = stage_layer_ids(model, pp)
    assert len(stages) == pp
    assert all(stages)
    assert list(itertools.chain(*stages)) == [int(layer_id) for layer_id in kinds_by_layer_id(model)]
