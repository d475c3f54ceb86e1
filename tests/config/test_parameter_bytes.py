import pytest

from sailor_exp.config.parameter_bytes import (
    lasting_bytes_per_parameter,
    parameter_share_of_states,
    planned_bytes_per_parameter,
    state_bytes,
)
from sailor_exp.config.schema import Optimizer, Precision


def test_what_lasts_of_a_parameter_is_the_parameter_its_states_and_in_bf16_its_gradient():
    held = {
        (precision, optimizer): lasting_bytes_per_parameter(precision, optimizer)
        for precision in Precision
        for optimizer in Optimizer
    }
    assert held == {
        (Precision.fp32, Optimizer.adam): 4 + 8,
        (Precision.fp32, Optimizer.sgd): 4,
        (Precision.tf32, Optimizer.adam): 4 + 8,
        (Precision.tf32, Optimizer.sgd): 4,
        (Precision.bf16, Optimizer.adam): 2 + 4 + 8 + 4,
        (Precision.bf16, Optimizer.sgd): 2 + 4 + 4,
    }


def test_the_gradient_is_fp32_in_every_precision_and_stays_in_bf16_alone():
    fp32, bf16 = (state_bytes(precision, Optimizer.adam) for precision in (Precision.fp32, Precision.bf16))
    assert (fp32.gradient, bf16.gradient) == (4, 4)
    assert (fp32.lasting_gradient, bf16.lasting_gradient) == (0, 4)


def test_the_share_of_the_parameter_is_that_of_the_states_that_the_engine_holds_after_a_backward():
    shares = {
        (precision, optimizer): parameter_share_of_states(precision, optimizer)
        for precision in Precision
        for optimizer in Optimizer
    }
    assert shares == {
        (Precision.fp32, Optimizer.adam): 4 / (4 + 4 + 8),
        (Precision.fp32, Optimizer.sgd): 4 / (4 + 4),
        (Precision.tf32, Optimizer.adam): 4 / (4 + 4 + 8),
        (Precision.tf32, Optimizer.sgd): 4 / (4 + 4),
        (Precision.bf16, Optimizer.adam): 2 / (2 + 4 + 4 + 8),
        (Precision.bf16, Optimizer.sgd): 2 / (2 + 4 + 4),
    }


@pytest.mark.parametrize("optimizer", Optimizer)
@pytest.mark.parametrize("of", [state_bytes, lasting_bytes_per_parameter, planned_bytes_per_parameter])
def test_tf32_has_the_bytes_of_fp32(of, optimizer):
    assert of(Precision.tf32, optimizer) == of(Precision.fp32, optimizer)
