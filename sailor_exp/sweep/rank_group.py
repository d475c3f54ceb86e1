"""Starts the ranks of a group together, watches them, and ends them together.

Ranks are forked from a server that has imported torch, deepspeed and megatron-core once, and has touched no
device. Each rank has its own pipe to the supervisor. A rank that runs out of memory reports it and exits at once:
its peers, which would wait for it in a collective, lose their connection or are killed. The end of a process frees
its memory, so the ranks need no agreement.
"""

import contextlib
import multiprocessing
import os
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import sailor_exp
from sailor_exp.config.schema import Device
from sailor_exp.errors import RankHangsError, RankStartError
from sailor_exp.records.provenance import THREADS_PER_RANK
from sailor_exp.sweep.messages import Cause, Death, Finished, Message, Progress, Task

GRACE_S = 0.5
"""Seconds that the other ranks have for their reports, once one has died."""

KILLED_WITHIN_S = 60.0
"""Seconds in which a killed rank must end. The driver frees the memory of a GPU in a few."""

_CODE = Path(sailor_exp.__file__).resolve().parent.parent
_PRELOAD = ["sailor_exp.launching", "sailor_exp.sweep.rank_imports"]
_TICK_S = 1.0

_ABANDONED = Death(cause=Cause.lost_peer, message="the ranks of another machine ended early")

Target = Callable[[int, Connection, Any], None]


@dataclass(frozen=True, kw_only=True)
class GroupEnd:
    """How a group of ranks ended early."""

    death: Death
    rank: int | None
    timed_out: bool = False


@cache
def server(device: Device) -> ForkServerContext:
    """Start the server that forks the ranks, once in each process, and return its context.

    The server imports in the background. It must find this very code, whatever the working directory. NVML reports
    whether there is a GPU, so that the server creates no CUDA context, which would be broken in a fork. Only the
    supervisor acts on an interrupt.
    """
    os.environ |= {
        "DS_ACCELERATOR": device.value,
        "OMP_NUM_THREADS": str(THREADS_PER_RANK),
        "PYTHONPATH": os.pathsep.join(_search_first()),
        "PYTHONSAFEPATH": "1",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
    # The server loads cuBLAS, which reads this; its ranks set it for their precision (instruments/cuda_settings.py).
    os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with _interrupts_ignored():
        forkserver.ensure_running()
    return context


def _search_first() -> list[str]:
    """Return the directories in which ranks look for modules first: that of this very code, then PYTHONPATH.

    An installed package needs no such entry: Python looks there after PYTHONPATH. With an entry, everything installed
    beside the package would come first, and ranks would compute with another torch than that of a `module load`.
    """
    named = [path for path in [os.environ.get("PYTHONPATH")] if path]
    installed = _CODE in {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    return named if installed else [str(_CODE), *named]


@cache
def fresh_processes() -> SpawnContext:
    """Return the context for ranks that import for themselves: needed where the server's imports have called CUDA."""
    return multiprocessing.get_context("spawn")


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore interrupts, so that a child process inherits this: Python's fork server does so only after its imports."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


class RankGroup:
    """The processes of a group that run on this machine, with one target function. A group is used once.

    `on_message` is called with every message of every rank. `first_rank`: the first one here; ranks are numbered in the
    whole group. `abandoned` returns whether the ranks of another machine ended early: these ranks then end, too.
    """

    def __init__(
        self,
        context: ForkServerContext | SpawnContext,
        size: int,
        *,
        stall_s: float,
        on_message: Callable[[int, Message], None],
        first_rank: int = 0,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context = context
        self._first_rank = first_rank
        self._size = size
        self._abandoned = abandoned
        self._stall_s = stall_s
        self._on_message = on_message
        self._processes: dict[int, ForkServerProcess | SpawnProcess] = {}
        self._pipes: dict[int, Connection] = {}
        self._heard: dict[int, float] = {}
        self._phases: dict[int, str] = {}
        self._deaths: dict[int, Death] = {}
        self._finished: set[int] = set()

    def run(self, target: Target, task: Any) -> GroupEnd | None:
        """Start the ranks and follow them to their end; return None where all finished.

        Kills its own remaining ranks before it returns, also when interrupted. Raises RankStartError, and
        RankHangsError if a killed rank does not end.
        """
        try:
            for rank in range(self._first_rank, self._first_rank + self._size):
                self._start(rank, target, task)
            return self._follow()
        finally:
            self._kill()

    def process_ids(self) -> dict[int, int]:
        """Return the process id of each rank that was started."""
        return {rank: process.pid for rank, process in self._processes.items() if process.pid is not None}

    def _start(self, rank: int, target: Target, task: Any) -> None:
        receiving, sending = self._context.Pipe(duplex=False)
        arguments = (rank - self._first_rank, sending, task)
        process = self._context.Process(target=target, args=arguments, name=f"rank{rank}", daemon=True)
        try:
            process.start()
        except (EOFError, ConnectionError) as error:
            raise RankStartError(error) from error
        sending.close()
        self._processes[rank], self._pipes[rank] = process, receiving
        self._heard[rank] = time.monotonic()

    def _follow(self) -> GroupEnd | None:
        died_at: float | None = None
        while len(self._finished) + len(self._deaths) < self._size:
            self._listen(_TICK_S if died_at is None else max(0.0, died_at + GRACE_S - time.monotonic()))
            if (self._deaths or self._abandoned()) and died_at is None:
                died_at = time.monotonic()
            if died_at is not None and time.monotonic() >= died_at + GRACE_S:
                break
            if died_at is None and (silent := self._silent_rank()) is not None:
                return self._timed_out(silent)
        if self._deaths:
            return verdict(self._deaths)
        return None if len(self._finished) == self._size else GroupEnd(death=_ABANDONED, rank=None)

    def _listen(self, timeout_s: float) -> None:
        open_ranks = [rank for rank in self._pipes if rank not in self._finished | set(self._deaths)]
        handles: dict[Any, int] = {self._pipes[rank]: rank for rank in open_ranks}
        ready = wait(list(handles), timeout=timeout_s)
        for pipe in ready:
            self._receive(handles[pipe])

    def _receive(self, rank: int) -> None:
        """Receive one message. A pipe that closes without a last message is that of a rank ended from outside."""
        self._heard[rank] = time.monotonic()
        try:
            message: Message = self._pipes[rank].recv()
        except (EOFError, OSError):
            self._deaths[rank] = self._death_from_outside(rank)
            return
        if isinstance(message, Death):
            self._deaths[rank] = message
        elif isinstance(message, Finished):
            self._finished.add(rank)
        elif isinstance(message, Progress):
            self._phases[rank] = message.phase
        self._on_message(rank, message)

    def _death_from_outside(self, rank: int) -> Death:
        process, phase = self._processes[rank], self._phases.get(rank)
        process.join(GRACE_S)
        code = process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return Death(
                cause=Cause.signal,
                message=f"rank {rank} was ended by {name}{_hint(name)}",
                phase=phase,
                signal=name,
            )
        return Death(cause=Cause.error, message=f"rank {rank} ended with exit status {code} and no word", phase=phase)

    def _silent_rank(self) -> int | None:
        waiting = {rank: heard for rank, heard in self._heard.items() if rank not in self._finished}
        if not waiting:
            return None
        rank = min(waiting, key=lambda rank: waiting[rank])
        return rank if time.monotonic() - waiting[rank] > self._stall_s else None

    def _timed_out(self, rank: int) -> GroupEnd:
        message = f"rank {rank} was silent for {self._stall_s:g} s (stall_s)"
        death = Death(cause=Cause.error, message=message, phase=self._phases.get(rank))
        return GroupEnd(death=death, rank=rank, timed_out=True)

    def _kill(self) -> None:
        for process in self._processes.values():
            if process.is_alive():
                process.kill()
        deadline = time.monotonic() + KILLED_WITHIN_S
        for rank, process in self._processes.items():
            process.join(max(0.0, deadline - time.monotonic()))
            self._pipes[rank].close()
        hanging = {rank: process for rank, process in self._processes.items() if process.is_alive()}
        for process in hanging.values():  # Python would wait for them at its exit, without end
            multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]  # noqa: SLF001
        if hanging:
            rank = min(hanging)
            raise RankHangsError(rank, process_id=hanging[rank].pid, waited_s=KILLED_WITHIN_S)


def verdict(deaths: Mapping[int, Death]) -> GroupEnd:
    """Return the end that explains all deaths: the lowest cause, and among equal causes the lowest rank."""
    rank = min(deaths, key=lambda rank: (deaths[rank].cause, rank))
    return GroupEnd(death=deaths[rank], rank=rank)


def _hint(signal_name: str) -> str:
    return " (the kernel, out of memory, or a person)" if signal_name == "SIGKILL" else ""


def run_rank(rank: int, pipe: Connection, task: Task) -> None:
    """Run a rank process; `rank` is counted on this machine.

    A library that does not load is reported to the supervisor, not only to the terminal.
    """
    from sailor_exp.sweep import rank_imports

    if rank_imports.FAULT is not None:
        fault = f"{type(rank_imports.FAULT).__name__}: {rank_imports.FAULT}"
        advice = "python -c 'import sailor_exp.sweep.rank_process' shows what needs it"
        pipe.send(Death(cause=Cause.error, message=f"{fault}. {advice}.", phase="importing"))
        raise rank_imports.FAULT
    rank_imports.rank_process.run(rank, pipe, task)
