import os
from types import SimpleNamespace

import pytest
import torch

from sailor_exp.errors import NoTensorFloat32Error, TooFewDevicesError
from sailor_exp.instruments import load
from sailor_exp.sweep import rank_process
from sailor_exp.sweep.messages import Cause, Task
from sailor_exp.sweep.rank_process import cause_of
from tests.build.cells import cell
from tests.build.fake_instruments import Voice
from tests.build.fake_nvml import Library, install
from tests.build.measurements import DEVICE


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), Cause.out_of_memory),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            Cause.out_of_memory,
        ),
        (MemoryError(), Cause.out_of_memory),
        (RuntimeError("[pair.cc:537] Connection closed by peer [127.0.0.1]:3521"), Cause.lost_peer),
        (RuntimeError("NCCL error: remote process exited or there was a network error"), Cause.lost_peer),
        (ValueError("out of memory"), Cause.error),
        (RuntimeError("Resource temporarily unavailable"), Cause.error),
        (TooFewDevicesError(asked=2, visible=0), Cause.refused),
        (NoTensorFloat32Error(found="Tesla T4", capability=(7, 5)), Cause.refused),
        (RuntimeError("shape mismatch"), Cause.error),
    ],
)
def test_running_out_of_memory_and_losing_a_peer_are_told_from_other_errors(error, cause):
    assert cause_of(error, cell("tp=2")) is cause


class FirstCallOfCudaError(Exception):
    pass


def environment_at_the_first_call_of_cuda(monkeypatch, *overrides):
    """The variables that decide how CUDA computes, when a rank asks for its device."""
    there = {}

    def rank_device(cell, rank):
        there.update({name: os.environ.get(name) for name in VARIABLES})
        raise FirstCallOfCudaError

    for name in VARIABLES:
        monkeypatch.setenv(name, "of the shell")
    monkeypatch.setattr(rank_process, "rank_device", rank_device)
    task = Task(cells=[cell("gpu=a100-40", *overrides)], init_method="", logs=[])
    with pytest.raises(FirstCallOfCudaError):
        rank_process._measure_all(0, Voice(), task)
    return there


VARIABLES = ("NVIDIA_TF32_OVERRIDE", "CUDA_DEVICE_MAX_CONNECTIONS")


def test_a_rank_sets_what_decides_how_cuda_computes_before_it_calls_cuda(monkeypatch):
    def there(*overrides):
        return tuple(environment_at_the_first_call_of_cuda(monkeypatch, *overrides).values())

    assert there() == ("0", "1")
    assert there("precision=tf32", "tp=2") == (None, "1")
    assert there("profile=overlap", "ranks=2") == ("0", None), "its two streams must not share a queue"


def test_each_cell_has_the_clocks_of_its_own_end(monkeypatch):
    sent, library = [], Library()
    install(monkeypatch, library)

    class Measuring:
        def measure(self, cell):
            library.mhz[1] = 1000 + cell.mbs
            load.look()
            return "share"

    class Told(Voice):
        def send(self, message):
            sent.append(message)

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2-3"))
    monkeypatch.setattr(load, "_of_this_process", load.LoadWatch(None))
    for name in (
        "check_device",
        "check_fitness",
        "join_group",
        "_limit_memory",
        "_refuse_inherited_cuda",
        "set_environment",
    ):
        monkeypatch.setattr(rank_process, name, lambda *_, **__: None)
    monkeypatch.setattr(rank_process, "rank_device", lambda *_: torch.device("cuda", 0))
    monkeypatch.setattr(rank_process, "RankAgreement", lambda _: None)
    monkeypatch.setattr(rank_process, "facts", lambda _: DEVICE)
    monkeypatch.setattr(rank_process, "rank_side", lambda _: lambda *_: Measuring())
    monkeypatch.setattr(load.time, "monotonic", iter(range(100)).__next__)
    task = Task(cells=[cell("gpu=a100-40", f"mbs={mbs}") for mbs in (1, 2)], init_method="", logs=[])
    rank_process._measure_all(0, Told(), task)
    assert [[reading.sm_mhz for reading in one.device.load.queued] for one in sent] == [[1001], [1002]]
    assert all(one.device.name == DEVICE.name for one in sent)
