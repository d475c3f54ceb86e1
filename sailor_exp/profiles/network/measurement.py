"""What `profile=network` measures: raw times of transfers and collectives by size, and their bandwidths.

Bandwidths are in units of 1e9 bytes/s.

Legend: T ranks of the group, N samples, S bytes.
"""

from collections.abc import Sequence
from typing import Literal

from sailor_exp.profiles.network.operations import Operation
from sailor_exp.records.base import Count, Frozen, NonNegative, Positive
from sailor_exp.stats import median, relative_half_width, slowest_rank
from sailor_exp.units import Seconds


class SizeSamples(Frozen):
    """Raw times of one operation on one size.

    `seconds`: shape (T, N), warm-up first, each of one operation: a sample is the mean of `repeats` in a row, because
    ranks enter a sample at different times, which would dominate the time of a small message.
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
        """Half-width of the 95 % interval of batch medians, relative to their mean; None with too few samples."""
        return relative_half_width(self.slowest_s)


class LeftOut(Frozen):
    """A size that was not measured: its samples would take `expected_s`, more than `budget_s`."""

    size_bytes: Count
    expected_s: Positive
    budget_s: Positive

    @property
    def reason(self) -> str:
        """The reason that people see."""
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
    `settings`: the variables that configured NCCL and gloo.
    """

    kind: Literal["inside", "loopback", "between"]
    ends: list[LinkEnd]
    settings: dict[str, str]


class NetworkShare(Frozen):
    """What one rank measured of the link that it shares: series of samples of shape (1, N), and its end of the link."""

    series: list[Series]
    end: LinkEnd
    settings: dict[str, str]


class NetworkMeasurement(Frozen):
    """What a record of the profile `network` holds."""

    link: Link
    series: list[Series]

    def of(self, operation: Operation) -> Series | None:
        """Return the series of an operation, None if the cell has none."""
        return next((series for series in self.series if series.operation is operation), None)


def joined_series(shares: Sequence[Series]) -> Series:
    """Join the samples of all ranks, by rising rank. All of them measured the same sizes in the same order."""
    sizes = [_joined_size(ranks) for ranks in zip(*(share.sizes for share in shares), strict=True)]
    return Series(operation=shares[0].operation, sizes=sizes, left_out=shares[0].left_out)


def _joined_size(shares: Sequence[SizeSamples]) -> SizeSamples:
    return shares[0].model_copy(update={"seconds": [rank for share in shares for rank in share.seconds]})


class Bandwidth(Frozen):
    """Bandwidth of one size of a series. `relative_half_width` is that of the time, and so of the bandwidth."""

    size_bytes: Count
    median_s: NonNegative
    gigabytes_per_s: Positive
    relative_half_width: NonNegative | None
    converged: bool
    samples: Count


def bandwidths(series: Series) -> list[Bandwidth]:
    """Return the bandwidth of each size, over the median time of the slowest rank."""
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
