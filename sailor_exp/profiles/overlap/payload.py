"""What one rank sends of an overlap."""

from dataclasses import dataclass
from typing import Literal

from sailor_exp.records.provenance import DeviceFacts


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
