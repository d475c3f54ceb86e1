"""The rank side of profile=galvatron, with a training and an allocator that are told what to do."""

from typing import ClassVar

import torch

from sailor_exp.profiles.galvatron.measurement import StageMemory
from sailor_exp.profiles.galvatron.rank import observed
from sailor_exp.training.whole_model import Phase


class Allocator:
    """CUDA's, as far as it is asked."""

    def __init__(self, allocated: int) -> None:
        self.allocated = self.highest = allocated

    def change(self, count: int) -> None:
        self.allocated += count
        self.highest = max(self.highest, self.allocated)

    def reset(self) -> None:
        self.highest = self.allocated


class Stage:
    """The last of two stages, with 300 bytes of parameters and moments; something else holds 1000."""

    parts: ClassVar = {}

    def __init__(self, allocator: Allocator) -> None:
        self.allocator = allocator
        self.logits = 0
        self.step([])

    def step(self, batches, entering=lambda phase: None):
        allocate = self.allocator.change
        entering(Phase.receive_activations)
        allocate(7)
        entering(Phase.forward)
        allocate(40 + 13)
        self.logits = 13
        entering(Phase.backward)
        allocate(90)
        allocate(-40 - 7)
        allocate(10)
        entering(Phase.reduce)
        allocate(500)
        allocate(-500)
        entering(Phase.update)
        allocate(-100)

    def lasting_tensors(self):
        return [torch.zeros(300, dtype=torch.uint8)]

    def drop_buffers(self):
        self.allocator.change(-self.logits)
        self.logits = 0


def test_on_cuda_the_allocator_is_asked_at_galvatrons_moments(monkeypatch):
    allocator = Allocator(1300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocator.allocated)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: allocator.highest)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: allocator.reset())
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert observed(Stage(allocator), [], torch.device("cuda", 0), lambda phase: None) == StageMemory(
        model_states_bytes=300 + 100,
        activation_bytes=7 + 40 + 13,
        activation_peak_bytes=(300 + 7 + 40 + 13 + 90) - (300 + 100),
    )
