"""The emulated device itself: what lies on it, what waits for it, what it refuses."""

import gc

import pytest
import torch

from sailor_exp.instruments.clock import CudaClock, Interval
from sailor_exp.units import MIB
from tests.emulated_cuda.torch_cuda import emulated_cuda


@pytest.fixture
def gpu():
    with emulated_cuda() as gpu:
        torch.cuda.set_device(3)
        yield gpu


def test_what_is_computed_from_tensors_on_the_device_lies_on_it_until_it_is_freed(gpu):
    there = torch.zeros(MIB, dtype=torch.uint8, device="cuda", requires_grad=False)
    result = there.float() + torch.tensor(1.0)
    assert (there.device, result.device, result.is_cuda) == (torch.device("cuda", 3), torch.device("cuda", 3), True)
    assert torch.cuda.memory_allocated() == 5 * MIB
    assert torch.cuda.max_memory_allocated() == 9 * MIB
    del there, result
    assert torch.cuda.memory_allocated() == 0
    assert torch.zeros(1).device.type == "cpu"


def test_what_autograd_keeps_stays_on_the_device(gpu):
    weights = torch.ones(256, 1024, device="cuda").requires_grad_()
    loss = weights.exp().sum()
    assert torch.cuda.memory_allocated() == 2 * MIB + 512
    loss.backward()
    del loss
    gc.collect()
    assert weights.grad.is_cuda
    assert torch.cuda.memory_allocated() == 2 * MIB


@pytest.mark.parametrize(
    ("action", "waits"),
    [
        (lambda x: x.sum().item(), {"item": 1}),
        (lambda x: bool((x > 0).all()), {"item": 1}),
        (lambda x: x.tolist(), {"tolist": 1}),
        (lambda x: x.cpu(), {"copy to the host": 1}),
        (lambda x: torch.ones(4).to(x.device), {"copy from the host": 1}),
        (lambda x: torch.tensor(1.0, device=x.device), {"copy from the host": 1}),
        (lambda x: torch.ones(4).to(x.device, non_blocking=True), {}),
        (lambda x: torch.ones(4).to(x), {"copy from the host": 1}),
        (lambda x: x[x > 0], {"index by a mask": 1}),
        (lambda x: x.__setitem__(x > 0, 1.0), {}),
        (lambda x: torch.cuda.synchronize(), {"synchronize": 1}),
        (lambda x: (x * 2).to(torch.bfloat16).sum(), {}),
    ],
)
def test_what_makes_the_host_wait_is_counted(gpu, action, waits):
    on_device = torch.arange(4.0, device="cuda")
    gpu.waits.clear()
    action(on_device)
    assert dict(gpu.waits) == waits


def test_the_device_refuses_what_is_above_its_share_and_keeps_nothing_of_it(gpu):
    torch.cuda.set_per_process_memory_fraction(8 * MIB / gpu.total_memory)
    kept = torch.empty(6 * MIB, dtype=torch.uint8, device="cuda")
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 6\.00 MiB"):
        kept.clone()
    assert torch.cuda.memory_allocated() == 6 * MIB


def test_events_pass_when_the_device_has_done_what_it_got(gpu):
    clock = CudaClock()
    start = clock.now()
    torch.cuda._sleep(int(1.98e9 * 0.02))
    interval = Interval(start, clock.now())
    clock.wait()
    assert clock.seconds(interval) == pytest.approx(0.02, rel=0.2)


def test_random_numbers_of_a_generator_of_the_device_lie_on_it(gpu):
    generator = torch.Generator(gpu.device).manual_seed(0)
    assert torch.randn(4, device=gpu.device, generator=generator).is_cuda


def test_nothing_is_replaced_afterwards():
    with emulated_cuda():
        torch.cuda.set_device(0)
    assert not torch.cuda.is_available()
    assert torch.version.cuda is None
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(1, device="cuda")
