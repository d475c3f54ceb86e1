"""Predictions of iterations whose numbers are counted by hand."""

from dataclasses import replace

import pytest

from sailor_exp.config.schema import Optimizer, Precision
from sailor_exp.profiles.check.prediction import Iteration, KindBytes, iteration, peak_bytes, stage_kinds
from sailor_exp.profiles.layers.costs import KindCost, StepCost
from tests.build.cells import cell


def cost(forward_s, backward_s, update_s, accumulate_s):
    return KindCost(forward_s=forward_s, backward_s=backward_s, update_s=update_s, accumulate_s=accumulate_s)


def step(kinds, overhead_s=0.0):
    return StepCost(kinds=kinds, overhead_s=overhead_s, after_embedding_s=0.0, after_head_s=0.0)


PARTS = {
    "embedding": cost(1.0, 2.0, 0.25, 0.5),
    "layer": cost(10.0, 20.0, 1.0, 2.0),
    "head": cost(5.0, 7.0, 0.5, 1.0),
}
COSTS = step(PARTS, overhead_s=0.125)
ONE_STAGE = [["embedding", "layer", "layer", "head"]]
TWO_STAGES = [["embedding", "layer"], ["layer", "head"]]


def test_one_microbatch_is_the_sum_of_the_parts():
    found = iteration(ONE_STAGE, [COSTS], 1)
    assert found == Iteration(forward_s=26.0, backward_s=49.0, update_s=2.75 + 0.125, total_s=75.0 + 2.875)


def test_every_microbatch_after_the_first_adds_to_the_gradients():
    found = iteration(ONE_STAGE, [COSTS], 3)
    assert found.forward_s == 3 * 26.0
    assert found.backward_s == 3 * 49.0 + 2 * 5.5
    assert found.update_s == 2.875
    assert found.total_s == found.forward_s + found.backward_s + found.update_s


def test_the_layers_after_the_embedding_and_after_the_head_cost_their_excess_once():
    costs = replace(COSTS, after_embedding_s=0.5, after_head_s=0.25)
    found = iteration(ONE_STAGE, [costs], 2)
    assert found.forward_s == 2 * (26.0 + 0.5)
    assert found.backward_s == 2 * (49.0 + 0.25) + 5.5
    staged = iteration(TWO_STAGES, [costs, costs], 2)
    assert (staged.forward_s, staged.backward_s) == (found.forward_s, found.backward_s)


def test_gradients_that_the_backward_accumulates_by_itself_cost_nothing_more():
    parts = {kind: cost(1.0, 2.0, 3.0, None) for kind in PARTS}
    assert iteration(ONE_STAGE, [step(parts)], 2).backward_s == 2 * 4 * 2.0


def test_a_pipeline_fills_and_drains():
    """Forward 11 and 15, backward 22 and 27, of the second microbatch 24.5 and 30.

    Stage 0: F0 0-11, F1 11-22, waits for B0 of stage 1, B0 53-75, waits for B1 of stage 1, B1 98-122.5.
    Stage 1: waits, F0 11-26, B0 26-53, F1 53-68, B1 68-98.
    """
    found = iteration(TWO_STAGES, [COSTS, COSTS], 2)
    assert found.forward_s == 2 * (11 + 15)
    assert found.backward_s == 22 + 27 + 24.5 + 30
    assert found.update_s == 1.0 + 0.5 + 0.125
    assert found.total_s == 122.5 + 1.25 + 0.125


def test_one_microbatch_goes_through_a_pipeline_as_through_one_stage_but_for_the_update():
    alone, staged = iteration(ONE_STAGE, [COSTS], 1), iteration(TWO_STAGES, [COSTS, COSTS], 1)
    assert staged.total_s - (1.25 + 0.125) == alone.forward_s + alone.backward_s


def test_equal_stages_take_the_known_time_of_one_forward_one_backward():
    """(M + pp - 1) * (forward + backward): Narayanan et al. 2021, section 2.2."""
    equal = step({"layer": cost(1.0, 2.0, 0.0, 0.0)})
    for pp, num_microbatches in ((2, 4), (4, 8), (4, 2), (3, 1)):
        found = iteration([["layer"]] * pp, [equal] * pp, num_microbatches)
        assert found.total_s == pytest.approx((num_microbatches + pp - 1) * 3.0)


def test_each_stage_goes_by_what_was_measured_where_it_runs():
    slow = step({kind: cost(100.0, 0.0, 0.0, 0.0) for kind in PARTS})
    assert iteration(TWO_STAGES, [COSTS, slow], 1).forward_s == 11 + 200


def test_a_model_is_split_as_the_pipeline_splits_it():
    asked = cell("model.num_layers=3", "model.separate_final_norm=true")
    assert stage_kinds(asked.model, 2) == [["embedding", "layer"], ["layer", "layer", "final_norm", "head"]]


def part_bytes(parameters, kept, forward, backward, update=0):
    return KindBytes(
        params_floats=parameters,
        params_bytes=4 * parameters,
        act_output_bytes=10,
        act_mem_bytes=kept,
        peak_forward_bytes=forward,
        peak_backward_bytes=backward,
        peak_update_bytes=update,
    )


ACTIVE = {
    "embedding": part_bytes(1, kept=0, forward=10, backward=20),
    "layer": part_bytes(2, kept=1000, forward=1200, backward=500),
    "head": part_bytes(1, kept=400, forward=600, backward=700),
}
HEAVY = {kind: part_bytes(1000, kept=1, forward=1, backward=1, update=8) for kind in ACTIVE}


def adam_peak(parts, stages, num_microbatches, precision=Precision.fp32):
    return peak_bytes(stages, parts, num_microbatches, precision, Optimizer.adam)


def test_many_activations_peak_in_the_backward_of_the_head():
    lasting = 6 * 12
    assert adam_peak(ACTIVE, ONE_STAGE, 1) == lasting + 2 * 1000 + 400 + 700
    assert adam_peak(ACTIVE, ONE_STAGE, 2) == lasting + 6 * 4 + 2 * 1000 + 400 + 700


def test_a_stage_keeps_the_activations_of_the_microbatches_on_their_way():
    first_stage = 3 * 12 + 3 * 4 + 2 * 1000 + 500
    second_stage = 3 * 12 + 3 * 4 + 1400 + 10 + 700
    assert adam_peak(ACTIVE, TWO_STAGES, 4) == max(first_stage, second_stage)


def test_gradients_come_with_the_first_backward_when_its_microbatch_goes():
    """Two microbatches on two stages: the first stage holds both, then the gradients and one."""
    states, kept = 3 * 12, 1000
    assert adam_peak(ACTIVE, TWO_STAGES, 2) == states + 2 * kept + 500
    nothing = part_bytes(1, kept=0, forward=0, backward=0)
    heavy = {
        "embedding": nothing,
        "layer": replace(ACTIVE["layer"], params_bytes=4000, act_output_bytes=0),
        "head": replace(nothing, act_output_bytes=0),
    }
    assert adam_peak(heavy, TWO_STAGES, 2) == states + kept + 4004 + 500


def test_the_last_of_several_stages_keeps_logits_until_the_one_after_next():
    wide = {**ACTIVE, "head": replace(ACTIVE["head"], act_output_bytes=5000)}
    kept_at_rest = 3 * 12 + 1000 + 10 + 500
    assert adam_peak(wide, TWO_STAGES, 1) == kept_at_rest + 4 + 5000
    assert adam_peak(wide, TWO_STAGES, 2) == kept_at_rest + 3 * 4 + 2 * 5000
    assert adam_peak(wide, TWO_STAGES, 3) == 3 * 12 + 3 * 4 + 1000 + 10 + 600 + 2 * 5000
    assert adam_peak(wide, ONE_STAGE, 3) == adam_peak(ACTIVE, ONE_STAGE, 3)


def test_many_parameters_peak_where_gradients_are_exchanged():
    assert adam_peak(HEAVY, ONE_STAGE, 1) == 4000 * (12 + 8)


def test_bf16_holds_master_weights_and_fp32_gradients_all_the_time():
    assert adam_peak(HEAVY, ONE_STAGE, 1, Precision.bf16) == 4000 * (2 + 4 + 4 + 8 + 4)


def test_sgd_has_no_states():
    assert peak_bytes(ONE_STAGE, HEAVY, 1, Precision.fp32, Optimizer.sgd) == 4000 * (4 + 8)
