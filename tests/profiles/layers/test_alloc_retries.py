"""The rank of the `layers` profile in this process, alone."""

from types import SimpleNamespace

import torch

from sailor_exp.instruments.peaks import allocation_retries
from sailor_exp.profiles.layers import rank
from sailor_exp.profiles.layers.measurement import largest_memory
from tests.build.cells import cell
from tests.build.fake_instruments import Voice
from tests.build.measurements import part, share

CPU = torch.device("cpu")
QUICK = ("sampling.warmup=2", "sampling.min_steps=3", "sampling.max_steps=3")


def test_the_allocators_retries_count_in_the_steps_that_count(alone, monkeypatch):
    after_each = iter([5, 7, 8, 8, 9, 11])  # when the cell begins, and after each of five steps, two of them warm-up
    monkeypatch.setattr(rank, "allocation_retries", lambda device: next(after_each))
    asked = cell(*QUICK)
    assert rank.LayersRank(asked, CPU, Voice()).measure(asked).memory.alloc_retries == 11 - 8


def test_without_that_allocator_nothing_is_said_of_retries(alone):
    asked = cell(*QUICK)
    assert rank.LayersRank(asked, CPU, Voice()).measure(asked).memory.alloc_retries is None


def test_the_record_has_the_retries_of_the_rank_with_most():
    memories = [share([part("head", "head", 1.0)]).memory.model_copy(update={"alloc_retries": n}) for n in (0, 2)]
    assert largest_memory(memories).alloc_retries == 2


def test_cudas_allocator_is_asked_for_its_retries_since_the_process_began(monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: {"num_alloc_retries": 4, "num_ooms": 1})
    assert allocation_retries(SimpleNamespace(type="cuda")) == 4
    assert allocation_retries(CPU) is None
