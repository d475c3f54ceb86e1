"""What a rank tells the process that supervises it. No torch here: both sides import this."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

from sailor_exp.network_samples import LinkEnd, Operation
from sailor_exp.record import DeviceFacts


class Cause(IntEnum):
    """Why a rank ended early. Where ranks differ, the lowest is the cause and the others its consequences.

    `inherited_cuda`: the rank was forked from a process that had called CUDA; it can be started in another way.
    `refused`: the machine is not what was asked for; no cell of the sweep can be measured on it.
    """

    inherited_cuda = -1
    refused = 0
    out_of_memory = 1
    signal = 2
    error = 3
    lost_peer = 4


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The rank is in a phase, and has done so many steps in it."""

    phase: str
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Death:
    """The rank ended early."""

    cause: Cause
    message: str
    phase: str | None = None
    signal: str | None = None


@dataclass(frozen=True, kw_only=True)
class PartSeconds:
    """Raw seconds of one part on one rank, all steps, warm-up first: shape (N,) each."""

    part: str
    kind: str
    forward_s: list[float]
    backward_s: list[float]
    update_s: list[float]
    overhead_s: list[float]
    accumulate_s: list[float] | None


@dataclass(frozen=True, kw_only=True)
class PartBytes:
    """Memory of one part on one rank, under the names of the record's PartMemory."""

    kind: str
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class LayersMeasurement:
    """What one rank measured in one cell."""

    parts: list[PartSeconds]
    calibration_s: list[float]
    memory: list[PartBytes]
    peak_bytes: int
    reserved_bytes: int | None
    device_used_bytes: int | None
    device: DeviceFacts


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


@dataclass(frozen=True, kw_only=True)
class OverlapRankMeasurement:
    """What one rank measured: raw seconds of one product and one all-reduce, warm-up first: shape (N,) each.

    `outlasted`: the share of the times under the other kind through which that ran to the end.
    """

    method: Literal["streams", "threads"]
    product: list[int]
    all_reduce_bytes: int
    warmup: int
    converged: bool
    outlasted: float
    product_alone_s: list[float]
    all_reduce_alone_s: list[float]
    product_together_s: list[float]
    all_reduce_together_s: list[float]
    device: DeviceFacts


@dataclass(frozen=True, kw_only=True)
class FullSeconds:
    """Raw seconds of the full model's steps on one rank, warm-up first: shape (N,) each.

    Each is the sum over the microbatches of the step. `exchange_s`: of gradients between data parallel ranks, of which
    there is one: what DeepSpeed's copies take. `total_s`: until the update is done, without the exchange.
    """

    forward_s: list[float]
    backward_s: list[float]
    exchange_s: list[float]
    update_s: list[float]
    total_s: list[float]


@dataclass(frozen=True, kw_only=True)
class CheckSeconds:
    """What one rank measured of the chain and of the full model, a step of each in turn."""

    chain: LayersMeasurement
    full: FullSeconds
    peak_bytes: int
    device: DeviceFacts


@dataclass(frozen=True, kw_only=True)
class KindBytes:
    """What one rank measured of the memory of each kind of part, under the names of the record's measurement."""

    counts: dict[str, dict[str, int]]
    device: DeviceFacts


@dataclass(frozen=True, kw_only=True)
class StageBytes:
    """What one rank measured of its stage, by the model's number of layers, under the names of StageMemory."""

    counts: dict[int, dict[str, int]]
    device: DeviceFacts


class RankMeasurement(Protocol):
    """What one rank measured in one cell; each profile has its own."""

    @property
    def device(self) -> DeviceFacts:
        """The rank's device."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The rank is done with the cell at this place of its list."""

    cell: int
    measurement: RankMeasurement


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The rank is done with all its cells."""


Message = Progress | Death | Measured | Finished
