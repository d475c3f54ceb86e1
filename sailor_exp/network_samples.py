"""What a link was measured to carry: raw times of transfers and collectives by size, and what follows from them.

Nothing here knows how the times were taken. Bandwidths are in units of 1e9 bytes/s.

Legend: T ranks of the group, N samples, S bytes.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from sailor_exp.frozen import Count, Frozen, NonNegative, Positive
from sailor_exp.stats import median, relative_half_width, slowest_rank
from sailor_exp.units import Seconds


class Operation(StrEnum):
    """What the ranks do together.

    `ring`: each sends to its next neighbour and receives from the one before, at once, as a ring all-reduce does.
    `pairs`: rank i of one machine sends to rank i of the other, all pairs at once.
    """

    ring = "ring"
    pairs = "pairs"
    all_reduce = "all_reduce"
    all_gather = "all_gather"
    reduce_scatter = "reduce_scatter"

    def bytes_on_the_link(self, size_bytes: float, ranks: int) -> float:
        """Return the bytes that the measured link carries for an operation on S bytes.

        A ring's link carries one message, the link between two machines those of all pairs. For collectives it is
        the bus bandwidth's numerator: what a rank has to send, whatever the algorithm (NVIDIA/nccl-tests,
        doc/PERFORMANCE.md). S is then the whole vector: what is reduced, gathered or scattered.
        """
        return (
            size_bytes
            * {
                Operation.ring: 1.0,
                Operation.pairs: ranks / 2,
                Operation.all_reduce: 2 * (ranks - 1) / ranks,
                Operation.all_gather: (ranks - 1) / ranks,
                Operation.reduce_scatter: (ranks - 1) / ranks,
            }[self]
        )


class SizeSamples(Frozen):
    """Raw times of one operation on one size.

    `seconds`: shape (T, N), warm-up first, of one operation each: a sample is the mean of `repeats` in a row, so that
    ranks which enter a sample apart from each other do not decide the time of a small message.
    """

    size_bytes: Count
    repeats: Count
    warmup: Count
    converged: bool
    seconds: list[list[NonNegative]]

    @property
    def slowest_s(self) -> list[Seconds]:
        """Time of the slowest rank in each sample that counts: shape (N - warmup,)."""
        return slowest_rank(self.seconds)[self.warmup :]

    @property
    def median_s(self) -> Seconds:
        """Median time of the slowest rank."""
        return median(self.slowest_s)

    @property
    def relative_half_width(self) -> float | None:
        """Half-width of the 95 % interval of batch medians, relative to their mean; None where it cannot be told."""
        return relative_half_width(self.slowest_s)


class LeftOut(Frozen):
    """A size that was not measured: it would have taken `expected_s` where `budget_s` were given."""

    size_bytes: Count
    expected_s: Positive
    budget_s: Positive

    @property
    def reason(self) -> str:
        """What a person is told."""
        return f"its samples would take {self.expected_s:.3g} s of the {self.budget_s:g} s of sampling.budget_s"


class Series(Frozen):
    """One operation over rising sizes, and the sizes that were left out."""

    operation: Operation
    sizes: list[SizeSamples]
    left_out: list[LeftOut]


class LinkEnd(Frozen):
    """One machine on the link: its name, and the address and interface by which it reaches the other."""

    host: str
    node: str | None
    address: str
    interface: str | None


class Link(Frozen):
    """What was between the ranks.

    `loopback`: both ends are one machine that stands for two, so that the figures are those of its memory.
    `settings`: variables by which NCCL and gloo were told how to talk.
    """

    kind: Literal["inside", "loopback", "between"]
    ends: list[LinkEnd]
    settings: dict[str, str]


class NetworkMeasurement(Frozen):
    """What the profile `network` measured in one cell."""

    profile: Literal["network"] = "network"
    link: Link
    series: list[Series]

    def of(self, operation: Operation) -> Series | None:
        """Return the series of an operation, None where the cell has none."""
        return next((series for series in self.series if series.operation is operation), None)


class Bandwidth(Frozen):
    """One size of a series, as readers take it. `relative_half_width` belongs to the time, and so to the bandwidth."""

    size_bytes: Count
    median_s: NonNegative
    gigabytes_per_s: Positive
    relative_half_width: NonNegative | None
    converged: bool
    samples: Count


def bandwidths(series: Series) -> list[Bandwidth]:
    """Bandwidth of each size, over the median time of the slowest rank."""
    return [
        Bandwidth(
            size_bytes=size.size_bytes,
            median_s=size.median_s,
            gigabytes_per_s=series.operation.bytes_on_the_link(size.size_bytes, len(size.seconds))
            / 1e9
            / size.median_s,
            relative_half_width=size.relative_half_width,
            converged=size.converged,
            samples=len(size.slowest_s),
        )
        for size in series.sizes
    ]


class OverlapSamples(Frozen):
    """Raw seconds of one product or one all-reduce, alone and while the other runs: shape (T, N), warm-up first."""

    product_alone_s: list[list[NonNegative]]
    all_reduce_alone_s: list[list[NonNegative]]
    product_together_s: list[list[NonNegative]]
    all_reduce_together_s: list[list[NonNegative]]


class OverlapMeasurement(Frozen):
    """What the profile `overlap` measured in one cell.

    `method`: how the two ran together: CUDA streams, or on a CPU threads. `product` is rows x width x width, of fp32.
    `outlasted`: the share of the times under the other kind through which that ran to the end, on the rank that has
    the least; what is missing to 1 makes the slowdown look smaller.
    """

    profile: Literal["overlap"] = "overlap"
    method: Literal["streams", "threads"]
    product: list[Count]
    all_reduce_bytes: Count
    warmup: Count
    converged: bool
    outlasted: Annotated[float, Field(ge=0, le=1)]
    samples: OverlapSamples


class Slowdown(Frozen):
    """How much longer the one that suffers more takes while the other runs.

    `measured` may lie below 1 by chance; `coefficient` is what planners read, never below 1.
    `product` and `all_reduce` are the two slowdowns; `relative_half_width` belongs to the larger one.
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
    """Ratio of medians, together over alone, of the slowest rank.

    Source: PKU-DAIR/Hetu-Galvatron at 67b224b, galvatron/profile_hardware/profile_overlap.py: `overlap_coe` is the
    larger of the delays of communication under computation and of computation under communication, 1 at least. Its
    one pass each gives no spread; here rounds alternate, and the interval is that of the ratios of the rounds.
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
