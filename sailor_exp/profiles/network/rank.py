"""The `network` profile in a rank: transfers between neighbours or pairs, and collectives, over rising sizes."""

import gc
import math
import os
from collections.abc import Sequence

import torch

from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.clock import Clock, Interval, clock_for
from sailor_exp.instruments.sampling import (
    Agreement,
    StepTimes,
    StoppingRule,
    Throttled,
    Voice,
    no_garbage_collection,
    sample,
)
from sailor_exp.profiles.network.link import end_towards, settings_in
from sailor_exp.profiles.network.measurement import LeftOut, NetworkShare, Series, SizeSamples
from sailor_exp.profiles.network.operations import Operation, operations, sizes_bytes
from sailor_exp.profiles.network.rank_transfers import Transfer, prepare
from sailor_exp.units import readable_bytes

LEAST_SAMPLE_S = 0.002
"""A shorter operation is repeated within a sample, because ranks enter it about ten microseconds apart."""

_MOST_REPEATS = 200
_TRIALS = 3


class NetworkRank:
    """Measures one group of ranks: all of a machine, or those of two machines in pairs."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:
        self._device = device
        self._voice = voice
        self._clock = clock_for(cell.gpu.device)
        self._agreement = RankAgreement(device)

    def measure(self, cell: Cell) -> NetworkShare:
        """Sample every size of every operation until its stopping rule has enough."""
        with no_garbage_collection():
            series = [self._series(operation, sizes_bytes(cell), cell) for operation in operations(cell)]
        return NetworkShare(series=series, end=end_towards(os.environ["MASTER_ADDR"]), settings=settings_in(os.environ))

    def _series(self, operation: Operation, rising_bytes: Sequence[int], cell: Cell) -> Series:
        """Measure the least size, and each larger size whose expected time is within the budget."""
        sizes: list[SizeSamples] = []
        left_out: list[LeftOut] = []
        one_s, former_bytes = 0.0, rising_bytes[0]
        for size_bytes in rising_bytes:
            expected_s, budget_s = expected(one_s * size_bytes / former_bytes, cell), cell.sampling.budget_s
            if size_bytes > rising_bytes[0] and expected_s > budget_s:
                left_out.append(LeftOut(size_bytes=size_bytes, expected_s=expected_s, budget_s=budget_s))
                continue
            self._voice.progress(f"{operation} {readable_bytes(size_bytes)}")
            samples = SizeSampling(prepare(operation, size_bytes, self._device), self._clock, self._agreement)
            sizes.append(samples.sampled(operation, cell, self._voice))
            one_s, former_bytes = samples.one_s, size_bytes
            del samples
            self._release()
        return Series(operation=operation, sizes=sizes, left_out=left_out)

    def _release(self) -> None:
        """Give the buffers of a size back to the device: the next size needs twice as much."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def expected(one_s: float, cell: Cell) -> float:
    """Return the seconds of the warm-up and the least number of samples, from the time of one operation."""
    return max(LEAST_SAMPLE_S, one_s) * (cell.sampling.warmup + cell.sampling.min_steps)


class SizeSampling:
    """The samples of one operation on one size, on this rank."""

    def __init__(self, transfer: Transfer, clock: Clock, agreement: Agreement) -> None:
        self._transfer = transfer
        self._clock = clock
        self._agreement = agreement
        self._seconds: list[float] = []
        self._repeats = 1
        self.one_s = 0.0

    def sampled(self, operation: Operation, cell: Cell, voice: Voice) -> SizeSamples:
        """Take samples until the stopping rule has enough, and return them."""
        self.one_s = self._trial_s()
        self._repeats = min(_MOST_REPEATS, math.ceil(LEAST_SAMPLE_S / self.one_s))
        rule = StoppingRule(cell.sampling, sampling_target(cell))
        phase, throttled = f"{operation} {readable_bytes(self._transfer.size_bytes)}", Throttled(voice)
        sample(self, self._agreement, rule, lambda _, steps: throttled.progress(phase, steps))
        return SizeSamples(
            size_bytes=self._transfer.size_bytes,
            repeats=self._repeats,
            warmup=cell.sampling.warmup,
            converged=rule.converged(),
            seconds=[self._seconds],
        )

    def calibrate(self) -> None:
        """Do nothing: a link has no fixed work that shows its present speed."""

    def run(self, number: int) -> StepTimes:  # noqa: ARG002
        """Take one sample."""
        self._seconds.append(self._mean_s(self._repeats))
        return StepTimes(step_s=self._seconds[-1], calibration_s=1.0)

    def _trial_s(self) -> float:
        """Return the time of one operation on the slowest rank; the first trial of a size opens the connections."""
        (one_s,) = [self._agreement.maximum([self._mean_s(1)]) for _ in range(_TRIALS)][-1]
        return one_s

    def _mean_s(self, repeats: int) -> float:
        start = self._clock.now()
        for _ in range(repeats):
            self._transfer.run()
        interval = Interval(start, self._clock.now())
        self._clock.wait()
        return self._clock.seconds(interval) / repeats


RANK = NetworkRank
