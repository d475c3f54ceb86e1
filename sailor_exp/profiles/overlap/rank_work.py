"""Runs matrix products and all-reduces on one device, one kind alone or both at the same time, and times each kind.

On CUDA they run in two streams, each with its own events; on a CPU in two threads, each with its own clock readings.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

import torch
import torch.distributed

from sailor_exp.config.schema import Device
from sailor_exp.instruments.clock import Clock, Interval, clock_for


class Kind(StrEnum):
    """The two kinds of work."""

    product = "product"
    all_reduce = "all_reduce"

    @property
    def other(self) -> "Kind":
        return Kind.all_reduce if self is Kind.product else Kind.product


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Seconds from the first to the last run of one kind, and whether the other kind ran until then."""

    seconds: float
    outlasted: bool


class Together(Protocol):
    """Products and all-reduces on one device."""

    method: Literal["streams", "threads"]

    def run(self, kind: Kind, count: int, others: int = 0) -> Timed:
        """Time `count` runs of a kind, while `others` runs of the other kind run; return when all are done."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A product of `rows` x `width` x `width` in fp32, and the all-reduce of the gradient of its weights.

    The shapes are those of a linear layer: its forward, and the all-reduce of data parallelism.
    """

    rows: int
    width: int
    product: Callable[[], None]
    all_reduce: Callable[[], None]

    @property
    def all_reduce_bytes(self) -> int:
        return self.width * self.width * 4

    def action(self, kind: Kind) -> Callable[[], None]:
        """Return the function that runs a kind once."""
        return self.product if kind is Kind.product else self.all_reduce


def work_on(device: torch.device, rows: int, width: int) -> Work:
    """Allocate the operands on a device."""
    inputs, weights = torch.ones(rows, width, device=device), torch.ones(width, width, device=device)
    outputs, gradient = torch.empty(rows, width, device=device), torch.zeros(width, width, device=device)

    def product() -> None:
        torch.mm(inputs, weights, out=outputs)

    def all_reduce() -> None:
        torch.distributed.all_reduce(gradient)

    return Work(rows=rows, width=width, product=product, all_reduce=all_reduce)


class Streams:
    """The current stream computes, another one communicates, and waits first for earlier work of the current one."""

    method: Literal["streams", "threads"] = "streams"

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        communication = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._streams = {Kind.product: torch.cuda.current_stream(), Kind.all_reduce: communication}

    def run(self, kind: Kind, count: int, others: int = 0) -> Timed:
        """Launch the other kind first, so that the timed kind is launched while the other one runs."""
        self._streams[Kind.all_reduce].wait_stream(self._streams[Kind.product])
        other = self._launch(kind.other, others) if others else None
        interval = self._launch(kind, count)
        self._clock.wait()
        return _timed(self._clock, interval, other)

    def _launch(self, kind: Kind, count: int) -> Interval:
        """Give a stream its work between two events; an all-reduce makes it wait for NCCL's own stream."""
        with torch.cuda.stream(self._streams[kind]):
            return _interval(self._work.action(kind), count, self._clock)


class Threads:
    """The caller's thread computes, another one communicates. Both release the interpreter's lock while they work."""

    method: Literal["streams", "threads"] = "threads"

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock

    def run(self, kind: Kind, count: int, others: int = 0) -> Timed:
        if not others:
            return _timed(self._clock, _interval(self._work.action(kind), count, self._clock), None)
        counts = {kind: count, kind.other: others}
        barrier = threading.Barrier(2)
        communication = _Thread(self._work.all_reduce, counts[Kind.all_reduce], self._clock, barrier)
        communication.start()
        barrier.wait()
        computation = _interval(self._work.product, counts[Kind.product], self._clock)
        intervals = {Kind.product: computation, Kind.all_reduce: communication.interval()}
        return _timed(self._clock, intervals[kind], intervals[kind.other])


def _interval(action: Callable[[], None], count: int, clock: Clock) -> Interval:
    start = clock.now()
    for _ in range(count):
        action()
    return Interval(start, clock.now())


def _timed(clock: Clock, interval: Interval, other: Interval | None) -> Timed:
    outlasted = other is not None and clock.seconds(Interval(interval.stop, other.stop)) >= 0
    return Timed(seconds=clock.seconds(interval), outlasted=outlasted)


class _Thread(threading.Thread):
    """Runs an action `count` times, and passes on the error that ended it."""

    def __init__(self, action: Callable[[], None], count: int, clock: Clock, barrier: threading.Barrier) -> None:
        super().__init__(name="communication", daemon=True)
        self._action = action
        self._count = count
        self._clock = clock
        self._barrier = barrier
        self._interval: Interval | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        self._barrier.wait()
        try:
            self._interval = _interval(self._action, self._count, self._clock)
        except BaseException as error:  # noqa: BLE001
            self._error = error

    def interval(self) -> Interval:
        """Wait for the end of the thread, and return its interval. Raises the error that ended it early."""
        self.join()
        if self._interval is None:
            raise self._error or RuntimeError("the thread did not run")
        return self._interval


def together_on(kind: Device, work: Work) -> Together:
    """Return the way to run both at once on a kind of device."""
    return Streams(work, clock_for(kind)) if kind is Device.cuda else Threads(work, clock_for(kind))
