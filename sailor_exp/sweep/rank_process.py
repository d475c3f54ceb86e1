"""One rank: joins its group, builds the parts, measures its cells one after another, and tells how it ended."""

import contextlib
import faulthandler
import gc
import os
import re
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
from sailor_exp.errors import DeviceMismatchError, InheritedCudaError, SailorExpError, TooFewDevicesError
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.device import check_device, facts, rank_device
from sailor_exp.instruments.memory_limit import limit_data, limited
from sailor_exp.profiles.registry import profile_of, rank_side
from sailor_exp.sweep.messages import Cause, Death, Finished, Measured, Progress, Task
from sailor_exp.training.libraries import without_compiling
from sailor_exp.training.process_group import join_group
from sailor_exp.units import GIB

warnings.filterwarnings("ignore", message=".*Apex (are|is) not installed", category=UserWarning)

with without_compiling():
    import deepspeed

    import sailor_exp.profiles.layers.rank

EXIT_TOLD = 3
"""Exit status of a rank that ended early and said why."""

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|out of memory|std::bad_alloc|Cannot allocate memory|could not create a memory"
    r"|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)

_NO_STACK = re.compile("Resource temporarily unavailable")
"""What a thread says that gets no stack: out of memory where memory is limited, else the system's own limits."""

_LOST_PEER = re.compile(r"Connection (closed|reset|refused)|Broken pipe|NCCL|remote process|Socket", re.IGNORECASE)


class Voice:
    """The rank's pipe to its supervisor; remembers the phase, for the case that it is the last one."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.phase = "start"

    def progress(self, phase: str, steps: int = 0) -> None:
        """Say where the rank is."""
        self.phase = phase
        self._pipe.send(Progress(phase=phase, steps=steps))

    def entering(self, phase: str) -> None:
        """Remember where the rank is, without a word: called inside a step."""
        self.phase = phase

    def send(self, message: Measured | Finished | Death) -> None:
        """Say what ends a cell or the rank."""
        self._pipe.send(message)


def run(rank: int, pipe: Connection, task: Task) -> None:
    """Entry of a rank process. Never returns to its caller's frame with an exception: it tells, and exits."""
    gc.freeze()  # what the server imported is garbage for nobody: collections need not look at it
    _leave_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    voice = Voice(pipe)
    try:
        _redirect_output(task.logs[rank])
        _measure_all(rank, voice, task)
        voice.send(Finished())
    except BaseException as error:  # noqa: BLE001
        traceback.print_exc()
        _tell_and_leave(voice, error)
    _leave(0)


def _measure_all(rank: int, voice: Voice, task: Task) -> None:
    first = task.cells[0]
    voice.progress("joining")
    if first.gpu.device is Device.cuda:
        _refuse_inherited_cuda()
    device = rank_device(first, rank)
    check_device(first, device)
    join_group(task.first_rank + rank, first, task.init_method, with_model=profile_of(first).about_model)
    _limit_memory(first, RankAgreement(device))
    voice.progress("building")
    measuring = rank_side(first.profile.name)(first, device, voice)
    device_facts = facts(device)
    for index, cell in enumerate(task.cells):
        voice.send(Measured(cell=index, device=device_facts, share=measuring.measure(cell)))


def _refuse_inherited_cuda() -> None:
    """What CUDA holds does not survive a fork: the libraries that the server imports must not have called it."""
    if torch.cuda._is_in_bad_fork():  # noqa: SLF001
        raise InheritedCudaError


def _limit_memory(cell: Cell, agreement: RankAgreement) -> None:
    """Bound what a rank on a CPU can allocate from here on: gpu.memory_gb beyond what libraries and threads hold.

    The group talks once before, so that its threads stand: a thread that gets no stack ends nothing, it leaves the
    peers waiting.
    """
    agreement.maximum([0.0])
    if cell.gpu.device is Device.cpu:
        limit_data(int(cell.gpu.memory_gb * GIB))


def _tell_and_leave(voice: Voice, error: BaseException) -> Never:
    with contextlib.suppress(OSError):
        voice.send(Death(cause=cause_of(error), message=_message(error), phase=voice.phase))
    _leave(EXIT_TOLD)


def _message(error: BaseException) -> str:
    """Return the error's first line; the kind of it too, unless it is one of ours, which says all."""
    first_line = str(error).strip().partition("\n")[0] or repr(error)
    return first_line if isinstance(error, SailorExpError) else f"{type(error).__name__}: {first_line}"


def cause_of(error: BaseException) -> Cause:
    """Tell running out of memory, losing a peer and a refused device from everything else."""
    text = str(error)
    if isinstance(error, InheritedCudaError):
        return Cause.inherited_cuda
    if isinstance(error, DeviceMismatchError | TooFewDevicesError):
        return Cause.refused
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Cause.out_of_memory
    if isinstance(error, RuntimeError) and (_OUT_OF_MEMORY.search(text) or (limited() and _NO_STACK.search(text))):
        return Cause.out_of_memory
    if isinstance(error, RuntimeError | OSError) and _LOST_PEER.search(text):
        return Cause.lost_peer
    return Cause.error


def _leave(status: int) -> Never:
    """Exit without the destructors of torch and its threads, which may wait for peers that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _leave_with_parent() -> None:
    """Exit when the supervisor is gone, whatever this rank waits for."""
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


_PAID_FOR_ONCE = (deepspeed, sailor_exp.profiles.layers.rank)  # by the fork server, for all ranks
