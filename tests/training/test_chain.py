"""The chain of parts trains as the uncut model would, and its marks enclose what they should."""

import itertools

import pytest
import torch

from sailor_exp.errors import UpdateSkippedError
from sailor_exp.instruments.clock import CpuClock
from sailor_exp.training.chain import Chain
from sailor_exp.training.engine import Engine
from sailor_exp.training.parts import batch_of
from tests.build.cells import cell

DEVICE = torch.device("cpu")


@pytest.fixture(params=["fp32", "tf32", "bf16"])
def chain(request, alone):
    asked = cell("tp=1", "mbs=2", f"precision={request.param}")
    return Chain(asked, DEVICE, CpuClock()), batch_of(asked, DEVICE)


def test_marks_leave_the_gradients_as_they_are(alone):
    asked = cell("tp=1", "mbs=2")
    marked, batch = Chain(asked, DEVICE, CpuClock()), batch_of(asked, DEVICE)
    unmarked_loss(marked, batch).backward()
    expected = gradients(marked)
    for part in marked.parts:
        part.zero_grad()
    stop_before_the_update(marked)
    with pytest.raises(StopIteration):
        marked.step(batch)
    assert len(expected) > 20
    for before, found in zip(expected, gradients(marked), strict=True):
        torch.testing.assert_close(found, before, rtol=0, atol=0)


def test_a_parts_backward_ends_with_its_own_gradients_and_before_any_of_the_part_before(alone):
    asked = cell("tp=1", "mbs=1")
    marked, batch = Chain(asked, DEVICE, CpuClock()), batch_of(asked, DEVICE)
    there = {}

    def entering(phase):
        kind = phase.partition(" ")[0]
        if kind in {"backward", "accumulate"}:
            has = [all(p.grad is not None for p in part.parameters()) for part in marked.parts]
            has_any = [any(p.grad is not None for p in part.parameters()) for part in marked.parts]
            there[phase] = [*zip(has, has_any, strict=True)]

    marked.step(batch, entering)
    for index, name in enumerate(marked.names):
        assert there[f"backward {name}"] == [(False, False)] * (index + 1) + [(True, True)] * (3 - index)
    assert there["accumulate head"] == [(True, True)] * 4


def unmarked_loss(marked, batch):
    hidden = torch.empty(0)
    for part in marked.parts:
        hidden = part(*part.inputs(hidden, batch))
    return hidden


def gradients(marked):
    return [parameter.grad.clone() for part in marked.parts for parameter in part.parameters()]


def stop_before_the_update(marked):
    def stop(*arguments):
        raise StopIteration

    marked.engine.step = stop


def test_a_step_updates_every_parameter_and_drops_the_gradients(chain):
    marked, batch = chain
    before = [parameter.detach().clone() for part in marked.parts for parameter in part.parameters()]
    for group in marked.engine._optimizer.param_groups:
        group["lr"] = 0.1
    marked.step(batch)
    after = [parameter for part in marked.parts for parameter in part.parameters()]
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(parameter.grad is None for parameter in after)


def test_nothing_waits_for_the_device_inside_a_step(chain, monkeypatch):
    from deepspeed.accelerator import get_accelerator

    marked, batch = chain
    for _ in range(3):
        marked.step(batch)
    waits = []
    monkeypatch.setattr(type(get_accelerator()), "synchronize", lambda *arguments: waits.append(arguments))
    marked.step(batch)
    assert waits == []


def test_phases_follow_each_other_and_the_updates_lie_inside_the_step(chain):
    marked, batch = chain
    heard = []
    intervals = marked.step(batch, heard.append)
    names = ["embedding", "layer_1", "layer_2", "head"]
    assert heard == [
        *(f"forward {name}" for name in names),
        *(f"backward {name}" for name in reversed(names)),
        *(f"accumulate {name}" for name in reversed(names) if marked.accumulates),
        "update",
        *(f"update {name}" for name in names),
    ]
    forwards = [part.forward for part in intervals.parts]
    backwards = [part.backward for part in reversed(intervals.parts)]
    accumulates = [part.accumulate for part in reversed(intervals.parts) if marked.accumulates]
    in_order = [*forwards, *backwards, *accumulates, intervals.update.whole]
    assert all(before.stop <= after.start for before, after in itertools.pairwise(in_order))
    assert all(before.stop == after.start for before, after in itertools.pairwise(backwards))
    inside = [*intervals.update.parts, *intervals.update.copies]
    assert len(inside) == (4 if marked.accumulates else 5)
    assert all(before.stop <= after.start for before, after in itertools.pairwise(inside))
    assert intervals.update.whole.start <= inside[0].start
    assert inside[-1].stop <= intervals.update.whole.stop


def test_an_update_that_deepspeed_skips_is_no_time(alone):
    asked = cell("tp=1", "precision=bf16")
    part = torch.nn.Linear(4, 4).to(torch.bfloat16)
    engine = Engine([part], asked, CpuClock())
    part(torch.full((1, 4), float("inf"), dtype=torch.bfloat16)).sum().backward()
    with pytest.raises(UpdateSkippedError):
        engine.step()
