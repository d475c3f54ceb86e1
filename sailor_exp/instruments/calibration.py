"""A fixed piece of work, whose time shows how fast the machine is at this moment."""

import time
from typing import Protocol

import torch

from sailor_exp.config.schema import Cell, Device
from sailor_exp.instruments.clock import Clock, Interval
from sailor_exp.instruments.sampling import Agreement
from sailor_exp.records.calibration import CalibrationKernel

SIZES = {Device.cpu: 256, Device.cuda: 2048}
"""Width of the square operands. On CUDA they take 48 MiB at most, so that they keep no cell from fitting."""

_SAMPLE_S = 0.0035
_HEATED_S = 0.2
_TRIALS = 10


class Calibration(Protocol):
    """The calibration kernel of a rank. Its time is that of one product."""

    @property
    def kernel(self) -> CalibrationKernel | None:
        """What it multiplies; None for that of a CPU, 256 x 256 in fp32."""

    @property
    def bytes(self) -> int:
        """Bytes of the operands, which belong to no cell."""

    def run(self) -> Interval:
        """Run it, and return its interval, whose end may still come."""

    def seconds(self, interval: Interval) -> float:
        """Return the seconds of one product of an interval that has passed."""


class CpuCalibration:
    """One product of ones, in fp32."""

    kernel = None

    def __init__(self, clock: Clock) -> None:
        size = SIZES[Device.cpu]
        self._clock = clock
        self._left, self._right = (torch.ones(size, size) for _ in range(2))
        self._product = torch.empty(size, size)
        self.bytes = _bytes(self._left, self._right, self._product)

    def run(self) -> Interval:
        start = self._clock.now()
        torch.mm(self._left, self._right, out=self._product)
        return Interval(start, self._clock.now())

    def seconds(self, interval: Interval) -> float:
        return self._clock.seconds(interval)


class CudaCalibration:
    """Products in the cell's precision, as many as take about 3.5 ms, so that launches and marks are small beside them.

    Each run has an equal one before it that is not timed: the timed one starts on a busy device. Operands are random,
    since a GPU draws less power for ones, and clocks higher. All ranks run as many products.
    """

    def __init__(self, cell: Cell, device: torch.device, clock: Clock, agreement: Agreement) -> None:
        size, dtype = SIZES[Device.cuda], torch.float32 if cell.precision.fp32_tensors else torch.bfloat16
        generator = torch.Generator().manual_seed(0)
        self._clock = clock
        self._left, self._right = (
            torch.randn(size, size, generator=generator).to(device=device, dtype=dtype) for _ in range(2)
        )
        self._product = torch.empty(size, size, dtype=dtype, device=device)
        self.bytes = _bytes(self._left, self._right, self._product)
        self._heat()
        (one_s,) = agreement.maximum([self._clock.seconds(self._timed(_TRIALS)) / _TRIALS])
        repeats = max(1, round(_SAMPLE_S / one_s))
        self.kernel = CalibrationKernel(dtype=str(dtype).removeprefix("torch."), size=size, repeats=repeats)

    def run(self) -> Interval:
        self._multiply(self.kernel.repeats)
        start = self._clock.now()
        self._multiply(self.kernel.repeats)
        return Interval(start, self._clock.now())

    def seconds(self, interval: Interval) -> float:
        return self._clock.seconds(interval) / self.kernel.repeats

    def _heat(self) -> None:
        """Multiply until the clocks have risen: an idle GPU takes several times as long."""
        until = time.monotonic() + _HEATED_S
        while time.monotonic() < until:
            self._timed(_TRIALS)

    def _timed(self, count: int) -> Interval:
        start = self._clock.now()
        self._multiply(count)
        interval = Interval(start, self._clock.now())
        self._clock.wait()
        return interval

    def _multiply(self, count: int) -> None:
        for _ in range(count):
            torch.mm(self._left, self._right, out=self._product)


def calibration_for(cell: Cell, device: torch.device, clock: Clock, agreement: Agreement) -> Calibration:
    """Return the calibration of a cell's device. All ranks must call this at once."""
    if cell.gpu.device is Device.cuda:
        return CudaCalibration(cell, device, clock, agreement)
    return CpuCalibration(clock)


def _bytes(*tensors: torch.Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)
