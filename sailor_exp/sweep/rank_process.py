"""One rank: joins its group, builds the parts, measures its cells one after another, and reports how it ended."""

import contextlib
import faulthandler
import gc
import os
import signal
import sys
import threading
import traceback
import warnings
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Never

import torch
import torch.distributed

from sailor_exp.config.schema import Cell, Device
from sailor_exp.errors import (
    DeviceMismatchError,
    InheritedCudaError,
    NoTensorFloat32Error,
    TooFewDevicesError,
    UnfitDeviceError,
)
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.cuda_settings import check_precision, set_environment
from sailor_exp.instruments.device import check_device, facts, rank_device
from sailor_exp.instruments.failures import lost_a_peer, ran_out_of_memory, told
from sailor_exp.instruments.fitness import check_fitness
from sailor_exp.instruments.load import watch
from sailor_exp.instruments.memory_limit import limit_data
from sailor_exp.profiles.registry import profile_of, rank_side
from sailor_exp.sweep.messages import Cause, Death, Finished, Measured, Progress, Task
from sailor_exp.training.libraries import without_compiling
from sailor_exp.training.process_group import join_group
from sailor_exp.units import GIB

warnings.filterwarnings("ignore", message=".*(Apex (are|is)|absl.logging is) not installed", category=UserWarning)

with without_compiling():
    import deepspeed

    import sailor_exp.profiles.layers.rank

EXIT_TOLD = 3
"""Exit status of a rank that ended early and reported why."""


class Voice:
    """The rank's pipe to its supervisor; it keeps the phase, for the report of an early end."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.phase = "start"

    def progress(self, phase: str, steps: int = 0) -> None:
        """Send the phase of the rank and its number of steps."""
        self.phase = phase
        self._pipe.send(Progress(phase=phase, steps=steps))

    def entering(self, phase: str) -> None:
        """Keep the phase without a message, for calls inside a step."""
        self.phase = phase

    def send(self, message: Measured | Finished | Death) -> None:
        """Send the message that ends a cell or the rank."""
        self._pipe.send(message)


def run(rank: int, pipe: Connection, task: Task) -> None:
    """Run a rank process. It never returns or raises: it reports how the rank ended, and exits."""
    gc.freeze()  # the server's imports never become garbage: collections need not look at them
    _leave_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    voice = Voice(pipe)
    try:
        _redirect_output(task.logs[rank])
        _measure_all(rank, voice, task)
        voice.send(Finished())
    except BaseException as error:  # noqa: BLE001
        traceback.print_exc()
        _report_and_leave(voice, error, task.cells[0])
    _leave(0)


def _measure_all(rank: int, voice: Voice, task: Task) -> None:
    first = task.cells[0]
    voice.progress("joining")
    if first.gpu.device is Device.cuda:
        _refuse_inherited_cuda()
        set_environment(first, about_model=profile_of(first).about_model)
    device = rank_device(first, rank)
    check_device(first, device)
    check_fitness(first, device)
    if profile_of(first).about_model:
        check_precision(first, device)
    join_group(task.first_rank + rank, first, task.init_method, with_model=profile_of(first).about_model)
    _limit_memory(first, RankAgreement(device))
    voice.progress("building")
    measuring = rank_side(first.profile.name)(first, device, voice)
    device_facts, load = facts(device), watch(device)
    for index, cell in enumerate(task.cells):
        share = measuring.measure(cell)
        under_load = device_facts.model_copy(update={"load": load.taken()})
        voice.send(Measured(cell=index, device=under_load, share=share))


def _refuse_inherited_cuda() -> None:
    """Raise InheritedCudaError if the server's imports have called CUDA, whose state does not survive a fork."""
    if torch.cuda._is_in_bad_fork():  # noqa: SLF001
        raise InheritedCudaError


def _limit_memory(cell: Cell, agreement: RankAgreement) -> None:
    """Limit what a rank on a CPU can allocate from here on: gpu.memory_gb beyond what libraries and threads hold.

    The group communicates once before the limit, so that its threads exist: a thread that gets no stack does not end
    the rank, and its peers would wait.
    """
    agreement.maximum([0.0])
    if cell.gpu.device is Device.cpu:
        limit_data(int(cell.gpu.memory_gb * GIB))


def _report_and_leave(voice: Voice, error: BaseException, cell: Cell) -> Never:
    with contextlib.suppress(OSError):
        voice.send(Death(cause=cause_of(error, cell), message=told(error), phase=voice.phase))
    _leave(EXIT_TOLD)


def cause_of(error: BaseException, cell: Cell) -> Cause:
    """Return the cause: inherited CUDA, a refused device, out of memory, a lost peer, or any other error."""
    if isinstance(error, InheritedCudaError):
        return Cause.inherited_cuda
    if isinstance(error, DeviceMismatchError | NoTensorFloat32Error | TooFewDevicesError | UnfitDeviceError):
        return Cause.refused
    if ran_out_of_memory(error, cell.gpu.device):
        return Cause.out_of_memory
    return Cause.lost_peer if lost_a_peer(error, cell.ranks * cell.nodes) else Cause.error


def _leave(status: int) -> Never:
    """Exit without the destructors of torch and its threads, which may wait for peers that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _leave_with_parent() -> None:
    """Start a thread that exits when the supervisor is gone, whatever this rank waits for."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(EXIT_TOLD)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()


def _redirect_output(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    os.close(descriptor)
    faulthandler.enable()


_PAID_FOR_ONCE = (deepspeed, sailor_exp.profiles.layers.rank)  # the fork server imports these, for all ranks
