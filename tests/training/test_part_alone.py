import weakref

import pytest
import torch

from sailor_exp.config.architecture import Kind
from sailor_exp.config.parameter_bytes import lasting_bytes_per_parameter
from sailor_exp.config.schema import Optimizer, Precision
from sailor_exp.instruments.footprint import footprint
from sailor_exp.instruments.peaks import forget_the_past
from sailor_exp.training.part_alone import PartAlone
from sailor_exp.training.parts import parameter_count
from tests.build.cells import cell

DEVICE = torch.device("cpu")


def lasting_of_a_part(asked) -> list[weakref.ref]:
    part = PartAlone(asked, Kind.layer, DEVICE)
    part.step()
    lasting = [weakref.ref(tensor) for tensor in part.engine.lasting_tensors()]
    part.release()
    return lasting


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_of_a_part_stays_beside_the_next(alone, precision):
    lasting = lasting_of_a_part(cell("model.num_layers=1", f"precision={precision}"))
    forget_the_past(DEVICE)
    assert lasting
    assert not [tensor for tensor in lasting if tensor() is not None]


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("optimizer", Optimizer)
def test_what_a_part_holds_between_steps_is_what_the_table_says_of_its_parameters(alone, precision, optimizer):
    asked = cell("model.num_layers=1", f"precision={precision.value}", f"optimizer={optimizer.value}")
    part = PartAlone(asked, Kind.layer, DEVICE)
    part.step()
    held = footprint(part.engine.lasting_tensors()).bytes
    part.release()
    expected = lasting_bytes_per_parameter(precision, optimizer) * parameter_count(part.part)
    assert held == pytest.approx(expected, rel=0.001)
