"""The chain of parts trains as the uncut model would, and its marks enclose what they should."""

import itertools

import pytest
import torch

from sailor_exp.chain import Chain
from sailor_exp.clock import CpuClock
from sailor_exp.engine import Engine
from sailor_exp.errors import UpdateSkippedError
from sailor_exp.model import batch_of
from tests.cells import cell

DEVICE = torch.device("cpu")


@pytest.fixture(params=["fp32", "bf16"])
def chain(request, alone):
    asked = cell("tp=1", "mbs=2", f"precision={request.param}")
    return Chain(asked, DEVICE, CpuClock()), batch_of(asked, DEVICE)


def test_a_part_gets_the_gradients_that_it_has_in_the_uncut_model(alone):
    asked = cell("tp=1", "mbs=2")
    cut, batch = Chain(asked, DEVICE, CpuClock()), batch_of(asked, DEVICE)
    hidden = torch.empty(0)
    for part in cut.parts:
        hidden = part(*part.inputs(hidden, batch))
    hidden.backward()
    whole = [parameter.grad.clone() for part in cut.parts for parameter in part.parameters()]
    for part in cut.parts:
        part.zero_grad()

    _, borders, outputs = cut._forward(batch, lambda phase: None)
    cut._backward(borders, outputs, lambda phase: None)
    in_parts = [parameter.grad for part in cut.parts for parameter in part.parameters()]
    assert len(whole) == len(in_parts) > 20
    for expected, found in zip(whole, in_parts, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_step_updates_every_parameter_and_drops_the_gradients(chain):
    cut, batch = chain
    before = [parameter.detach().clone() for part in cut.parts for parameter in part.parameters()]
    for engine in cut.engines:
        for group in engine._optimizer.param_groups:
            group["lr"] = 0.1
    cut.step(batch)
    after = [parameter for part in cut.parts for parameter in part.parameters()]
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(parameter.grad is None for parameter in after)


def test_nothing_waits_for_the_device_inside_a_step(chain, monkeypatch):
    from deepspeed.accelerator import get_accelerator

    cut, batch = chain
    for _ in range(3):
        cut.step(batch)
    waits = []
    monkeypatch.setattr(type(get_accelerator()), "synchronize", lambda *arguments: waits.append(arguments))
    cut.step(batch)
    assert waits == []


def test_phases_follow_each_other_and_the_update_lies_inside_the_step(chain):
    cut, batch = chain
    heard = []
    intervals = cut.step(batch, heard.append)
    names = ["embedding", "layer_1", "layer_2", "head"]
    assert heard == [
        *(f"forward {name}" for name in names),
        *(f"backward {name}" for name in reversed(names)),
        *(f"update {name}" for name in names),
    ]
    forwards = [part.forward for part in intervals]
    backwards = [part.backward for part in reversed(intervals)]
    wholes = [part.whole_update for part in intervals]
    in_order = [*forwards, *backwards, *wholes]
    assert all(before.stop <= after.start for before, after in itertools.pairwise(in_order))
    for part in intervals:
        assert part.updates
        assert part.whole_update.start <= part.updates[0].start
        assert part.updates[-1].stop <= part.whole_update.stop


def test_an_update_that_deepspeed_skips_is_no_time(alone):
    asked = cell("tp=1", "precision=bf16")
    part = torch.nn.Linear(4, 4).to(torch.bfloat16)
    engine = Engine(part, asked, CpuClock())
    part(torch.full((1, 4), float("inf"), dtype=torch.bfloat16)).sum().backward()
    with pytest.raises(UpdateSkippedError):
        engine.step()
