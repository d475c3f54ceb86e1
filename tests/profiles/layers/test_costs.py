from sailor_exp.profiles.layers.costs import step_costs
from tests.build.measurements import part, share


def test_what_the_layer_after_another_kind_takes_beyond_that_is_told_apart():
    parts = [part("embedding", "embedding", 9.0), part("layer_1", "layer", 4.0), part("layer_2", "layer", 3.0)]
    (cost, *_) = step_costs(share([*parts, part("head", "head", 9.0)]).samples)
    assert (cost.after_embedding_s, cost.after_head_s) == (4.0 - 3.0, 3.0 - 4.0)
