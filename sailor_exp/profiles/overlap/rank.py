"""The `overlap` profile in a rank: how much an all-reduce and a matrix product slow each other down.

Definition and shapes: PKU-DAIR/Hetu-Galvatron at 67b224b, galvatron/profile_hardware/profile_overlap.py. For each kind:
the time alone, and the time while the other runs throughout, for which the other gets four times as much work. There
one pass each comes from a profiler's printed table; here the four times alternate, round by round.
"""

import math
from dataclasses import dataclass

import torch

from sailor_exp.config.schema import Cell, Device, sampling_target
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.sampling import (
    Agreement,
    StepTimes,
    StoppingRule,
    Throttled,
    Voice,
    no_garbage_collection,
    sample,
)
from sailor_exp.profiles.overlap.measurement import OverlapMeasurement, OverlapSamples
from sailor_exp.profiles.overlap.rank_work import Kind, Together, together_on, work_on

LEAST_SAMPLE_S = {Device.cuda: 0.02, Device.cpu: 0.01}
OTHER_LASTS = 4
"""Galvatron's `overlap_time_multiply`: the other kind gets so many times as much work, so that it runs longer."""

_SHAPES = {Device.cuda: (1024, 4096), Device.cpu: (128, 512)}
"""Rows and width of the product. On CUDA those of Galvatron, which take one CPU core a second."""

_TRIALS = 3


class OverlapRank:
    """Measures one group of ranks of one machine."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:
        self._voice = voice
        self._work = work_on(device, *_SHAPES[cell.gpu.device])
        self._together = together_on(cell.gpu.device, self._work)
        self._agreement = RankAgreement(device)

    def measure(self, cell: Cell) -> OverlapMeasurement:
        """Sample rounds until the interval of the times together over those alone is within the target."""
        self._voice.progress("warm-up")
        rule = StoppingRule(cell.sampling, sampling_target(cell), always_calibrated=True)
        with no_garbage_collection():
            rounds = Rounds(self._together, counts(self._together, self._agreement, cell.gpu.device), self._agreement)
            sample(rounds, self._agreement, rule, Throttled(self._voice).progress)
        return OverlapMeasurement(
            method=self._together.method,
            product=[self._work.rows, self._work.width, self._work.width],
            all_reduce_bytes=self._work.all_reduce_bytes,
            warmup=cell.sampling.warmup,
            converged=rule.converged(),
            outlasted=rounds.outlasted / (2 * len(rounds.product_alone_s)),
            samples=OverlapSamples(
                product_alone_s=[rounds.product_alone_s],
                all_reduce_alone_s=[rounds.all_reduce_alone_s],
                product_together_s=[rounds.product_together_s],
                all_reduce_together_s=[rounds.all_reduce_together_s],
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many of each kind are timed in a sample, and how many outlast the other kind's."""

    products: int
    all_reduces: int
    outlasting_products: int
    outlasting_all_reduces: int


def counts(together: Together, agreement: Agreement, kind: Device) -> Counts:
    """Return counts from trial times of the slowest rank, the same on all ranks, which must all-reduce alike."""
    for _ in range(_TRIALS):
        alone_s = [together.run(kind_of_work, 1).seconds for kind_of_work in (Kind.product, Kind.all_reduce)]
        product_s, all_reduce_s = agreement.maximum(alone_s)
    products = math.ceil(LEAST_SAMPLE_S[kind] / product_s)
    all_reduces = math.ceil(LEAST_SAMPLE_S[kind] / all_reduce_s)
    return Counts(
        products=products,
        all_reduces=all_reduces,
        outlasting_products=math.ceil(OTHER_LASTS * all_reduces * all_reduce_s / product_s),
        outlasting_all_reduces=math.ceil(OTHER_LASTS * products * product_s / all_reduce_s),
    )


class Rounds:
    """Rounds of four times each, on this rank: seconds of one product or one all-reduce."""

    def __init__(self, together: Together, counts: Counts, agreement: Agreement) -> None:
        self._together = together
        self._counts = counts
        self._agreement = agreement
        self.outlasted = 0
        self.product_alone_s: list[float] = []
        self.all_reduce_alone_s: list[float] = []
        self.product_together_s: list[float] = []
        self.all_reduce_together_s: list[float] = []

    def calibrate(self) -> None:
        """Do nothing: the times alone in a round are its calibration."""

    def run(self, number: int) -> StepTimes:  # noqa: ARG002
        """Run a round: each kind alone, then beside the other; the ranks begin each of the four together."""
        products, all_reduces = self._counts.products, self._counts.all_reduces
        self.product_alone_s.append(self._one(Kind.product, products))
        self.all_reduce_alone_s.append(self._one(Kind.all_reduce, all_reduces))
        self.all_reduce_together_s.append(self._one(Kind.all_reduce, all_reduces, self._counts.outlasting_products))
        self.product_together_s.append(self._one(Kind.product, products, self._counts.outlasting_all_reduces))
        return StepTimes(
            step_s=self.product_together_s[-1] + self.all_reduce_together_s[-1],
            calibration_s=self.product_alone_s[-1] + self.all_reduce_alone_s[-1],
        )

    def _one(self, kind: Kind, count: int, others: int = 0) -> float:
        """Return the mean seconds of `count` runs of a kind in a row, beside `others` runs of the other kind."""
        timing = self._together.run(kind, count, others)
        self.outlasted += timing.outlasted
        self._agreement.maximum([0.0])
        return timing.seconds / count


RANK = OverlapRank
