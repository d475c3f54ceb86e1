"""What one rank sends of a link."""

from dataclasses import dataclass

from sailor_exp.profiles.network.measurement import LinkEnd
from sailor_exp.profiles.network.operations import Operation
from sailor_exp.records.provenance import DeviceFacts


@dataclass(frozen=True, kw_only=True)
class SizeSeconds:
    """Raw seconds of one operation on one size on one rank, warm-up first: shape (N,)."""

    operation: Operation
    size_bytes: int
    repeats: int
    warmup: int
    converged: bool
    seconds: list[float]


@dataclass(frozen=True, kw_only=True)
class SizeUnmeasured:
    """A size that would have taken longer than its budget."""

    operation: Operation
    size_bytes: int
    expected_s: float
    budget_s: float


@dataclass(frozen=True, kw_only=True)
class NetworkRankMeasurement:
    """What one rank measured of the link that it shares. `end`: the rank's end of it; the rest as in the record."""

    measured: list[SizeSeconds]
    left_out: list[SizeUnmeasured]
    end: LinkEnd
    settings: dict[str, str]
    device: DeviceFacts
