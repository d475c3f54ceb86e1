"""How much an all-reduce and a matrix product slow each other down: raw times and slowdowns.

Legend: T ranks of the group, N samples.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from sailor_exp.records.base import Count, Frozen, NonNegative, Positive
from sailor_exp.stats import median, relative_half_width, slowest_rank


class OverlapSamples(Frozen):
    """Raw seconds of one product or one all-reduce, alone and while the other runs: shape (T, N), warm-up first."""

    product_alone_s: list[list[NonNegative]]
    all_reduce_alone_s: list[list[NonNegative]]
    product_together_s: list[list[NonNegative]]
    all_reduce_together_s: list[list[NonNegative]]


class OverlapMeasurement(Frozen):
    """What one rank sends, with samples of shape (1, N), and what a record of the profile holds.

    `method`: how the two ran together: CUDA streams, or on a CPU threads. `product`: rows x width x width, of fp32.
    `outlasted`: the share of runs beside the other kind in which the other kind ran to the end, on the rank with the
    least; below 1 the slowdown looks smaller than it is.
    """

    method: Literal["streams", "threads"]
    product: list[Count]
    all_reduce_bytes: Count
    warmup: Count
    converged: bool
    outlasted: Annotated[float, Field(ge=0, le=1)]
    samples: OverlapSamples


def joined(shares: Sequence[OverlapMeasurement]) -> OverlapMeasurement:
    """Join what the ranks measured, by rising rank: shape (1, N) of each to (T, N)."""
    samples = {
        times: [rank for share in shares for rank in getattr(share.samples, times)]
        for times in OverlapSamples.model_fields
    }
    outlasted = min(share.outlasted for share in shares)
    return shares[0].model_copy(update={"outlasted": outlasted, "samples": OverlapSamples(**samples)})


class Slowdown(Frozen):
    """How many times longer each kind takes while the other runs.

    `product`, `all_reduce`: the two slowdowns. `relative_half_width`: of the larger one. `measured`: the larger one, by
    chance below 1. `coefficient`: what planners read, never below 1.
    """

    product: Positive
    all_reduce: Positive
    relative_half_width: NonNegative | None
    samples: Count

    @property
    def measured(self) -> float:
        return max(self.product, self.all_reduce)

    @property
    def coefficient(self) -> float:
        return max(1.0, self.measured)


def slowdown(measurement: OverlapMeasurement) -> Slowdown:
    """Return the ratios of medians, together over alone, of the slowest rank.

    Source: PKU-DAIR/Hetu-Galvatron at 67b224b, galvatron/profile_hardware/profile_overlap.py: `overlap_coe` is the
    larger of the delays of communication under computation and of computation under communication, 1 at least. One
    pass each, as there, has no spread; here rounds alternate, and the interval is that of the rounds' ratios.
    """
    samples, warmup = measurement.samples, measurement.warmup
    ratios = {
        "product": _ratios(samples.product_together_s, samples.product_alone_s, warmup),
        "all_reduce": _ratios(samples.all_reduce_together_s, samples.all_reduce_alone_s, warmup),
    }
    values = {
        "product": _median_ratio(samples.product_together_s, samples.product_alone_s, warmup),
        "all_reduce": _median_ratio(samples.all_reduce_together_s, samples.all_reduce_alone_s, warmup),
    }
    larger = max(values, key=lambda name: values[name])
    return Slowdown(**values, relative_half_width=relative_half_width(ratios[larger]), samples=len(ratios[larger]))


def _median_ratio(together_s: list[list[float]], alone_s: list[list[float]], warmup: int) -> float:
    return median(slowest_rank(together_s)[warmup:]) / median(slowest_rank(alone_s)[warmup:])


def _ratios(together_s: list[list[float]], alone_s: list[list[float]], warmup: int) -> list[float]:
    pairs = zip(slowest_rank(together_s)[warmup:], slowest_rank(alone_s)[warmup:], strict=True)
    return [together / alone for together, alone in pairs]
