"""Cells measured on the emulated device, in this process, which stands for every rank of their group."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.layers.measurement import Memory
from sailor_exp.records.record import Record
from sailor_exp.sweep import sweep
from sailor_exp.sweep.messages import Death, Message, Task
from sailor_exp.sweep.rank_group import GroupEnd, verdict
from tests.build.cells import cell
from tests.build.fake_instruments import Voice
from tests.build.fake_ranks import fake_group
from tests.emulated_cuda.gpu import Gpu
from tests.emulated_cuda.torch_cuda import emulated_cuda

_OF_A_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CUDA_DEVICE_MAX_CONNECTIONS")

QUICK = ("sampling.warmup=2", "sampling.min_steps=2", "sampling.max_steps=2")


class Silent:
    """Shows nothing."""

    def running(self, cell: int, phase: str, steps: int) -> None:
        return

    def done(self, cell: int, outcome: Record, *, reused: bool) -> None:
        return


class OneProcess:
    """The machine of a sweep whose ranks are all this process: what rank 0 sends, all have sent."""

    log_tag = "emulated"

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu

    def run(
        self, context: None, cells: Sequence[Cell], logs: Sequence[Path], hear: Callable[[int, Message], None]
    ) -> GroupEnd | None:
        task = Task(cells=cells, init_method="tcp://127.0.0.1:1", logs=logs)
        with rank_process(self.gpu) as measured:
            return measured(task, hear)


@contextmanager
def rank_process(gpu: Gpu) -> Iterator[Callable[[Task, Callable[[int, Message], None]], GroupEnd | None]]:
    """Make this process rank 0 of a group of which the others are alike; undo what a rank does to a process."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"DS_ACCELERATOR": "cuda"}))
        for name in _OF_A_RANK:
            os.environ.pop(name, None)
        stack.enter_context(emulated_cuda(gpu))
        stack.callback(_leave_group)
        stack.enter_context(deepspeed_anew())
        yield _measure


@contextmanager
def deepspeed_anew() -> Iterator[None]:
    """Let DeepSpeed find its accelerator and its group again, inside the block and after it."""
    import deepspeed.comm.comm
    from deepspeed.accelerator import real_accelerator

    with (
        mock.patch.object(real_accelerator, "ds_accelerator", None),
        mock.patch.object(deepspeed.comm.comm, "cdb", None),
    ):
        yield


class _LeftError(Exception):
    """The rank would have ended its process here."""


def _measure(task: Task, hear: Callable[[int, Message], None]) -> GroupEnd | None:
    """Run a rank to its end in this process, which keeps its output and goes on."""
    from sailor_exp.sweep import rank_process

    pipe = _Pipe(task.cells[0].ranks * task.cells[0].nodes, hear)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(rank_process, "_leave", side_effect=_LeftError))
        stack.enter_context(mock.patch.object(rank_process, "_redirect_output"))
        stack.enter_context(mock.patch.object(rank_process.signal, "signal"))
        stack.enter_context(mock.patch.object(rank_process.gc, "freeze"))
        stack.enter_context(suppress(_LeftError))
        rank_process.run(0, pipe, task)
    return None if pipe.death is None else verdict({0: pipe.death})


class _Pipe:
    """Passes a message on as that of every rank, and keeps the report of an early end."""

    def __init__(self, ranks: int, hear: Callable[[int, Message], None]) -> None:
        self._ranks = ranks
        self._hear = hear
        self.death: Death | None = None

    def send(self, message: Message) -> None:
        self.death = message if isinstance(message, Death) else None
        for rank in range(self._ranks):
            self._hear(rank, message)


def _leave_group() -> None:
    from megatron.core import parallel_state

    if parallel_state.model_parallel_is_initialized():
        parallel_state.destroy_model_parallel()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def records(directory: Path, *overrides: str, gpu: Gpu | None = None, mbs: Sequence[int] = (1,)) -> list[Record[Any]]:
    """The records of cells of one pack on an emulated H100, by rising microbatch."""
    cells = [
        cell("gpu=h100-80", "vm='8'", f"profile_dir={directory}", *QUICK, *overrides, f"mbs={size}") for size in mbs
    ]
    with mock.patch.object(sweep, "server", return_value=None):
        results = sweep.run(cells, Silent(), OneProcess(gpu or Gpu()))
    return [result.record for result in results]


def memory_on_the_cpu(*overrides: str) -> Memory:
    """What profile=layers says of memory when the same cell is measured on the CPU, in this process."""
    import deepspeed

    from sailor_exp.profiles.layers.rank import LayersRank

    asked = cell(*QUICK, *overrides, "tp=1", "mbs=1")
    former = mock.patch.object(torch.cuda, "current_device", torch.cuda.current_device)
    with (
        mock.patch.dict(os.environ, {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0"}),
        former,
        fake_group(1),
        deepspeed_anew(),
    ):
        deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
        return LayersRank(asked, torch.device("cpu"), Voice()).measure(asked).memory
